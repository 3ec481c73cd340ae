-- +goose Up
-- How far each imported file has come. What the file was is kept to tell whether it still is.
CREATE TABLE ingest_import_files (
    name         TEXT    NOT NULL PRIMARY KEY,
    size         INTEGER NOT NULL,
    modified_at  INTEGER NOT NULL,
    head         TEXT    NOT NULL,
    tail         TEXT    NOT NULL,
    mapping      TEXT    NOT NULL,
    bytes        INTEGER NOT NULL,
    line         INTEGER NOT NULL,
    row_count    INTEGER NOT NULL,
    events       INTEGER NOT NULL,
    skipped      INTEGER NOT NULL,
    rejected     INTEGER NOT NULL,
    first_at     INTEGER NOT NULL,
    last_at      INTEGER NOT NULL,
    cluster_id   TEXT    NOT NULL,
    topic_id     TEXT    NOT NULL,
    started_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    finished_at  INTEGER NOT NULL
);

-- +goose Down
DROP TABLE ingest_import_files;
