-- +goose Up
-- The runs that were begun, by the fencing token of their lease, so that one begun by the wall clock can go on at the instant it
-- began at. ended_at is 0 while it runs and when it was interrupted.
CREATE TABLE nightly_runs (
    token     INTEGER NOT NULL PRIMARY KEY,
    as_of     INTEGER NOT NULL,
    by_clock  BOOLEAN NOT NULL,
    snapshots TEXT    NOT NULL,
    begun_at  INTEGER NOT NULL,
    ended_at  INTEGER NOT NULL
);

-- +goose Down
DROP TABLE nightly_runs;
