-- +goose Up
CREATE TABLE ingest_imports (
    namespace     TEXT    NOT NULL PRIMARY KEY,
    content       TEXT    NOT NULL,
    acknowledged  INTEGER NOT NULL CHECK (acknowledged >= 0),
    prefix_digest TEXT    NOT NULL,
    started_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    finished_at   INTEGER NOT NULL
);

-- +goose Down
DROP TABLE ingest_imports;
