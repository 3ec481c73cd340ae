-- +goose Up
-- What a nightly run has finished, so that a run that was interrupted goes on where it stopped.
CREATE TABLE nightly_steps (
    run         TEXT    NOT NULL,
    step        TEXT    NOT NULL,
    result      TEXT    NOT NULL,
    finished_at INTEGER NOT NULL,
    PRIMARY KEY (run, step)
);

-- +goose Down
DROP TABLE nightly_steps;
