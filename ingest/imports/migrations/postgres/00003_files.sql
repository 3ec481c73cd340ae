-- +goose Up
-- How far each imported file has come. What the file was is kept to tell whether it still is.
CREATE TABLE ingest_import_files (
    name         TEXT    NOT NULL PRIMARY KEY,
    size         BIGINT  NOT NULL,
    modified_at  BIGINT  NOT NULL,
    head         TEXT    NOT NULL,
    tail         TEXT    NOT NULL,
    mapping      TEXT    NOT NULL,
    bytes        BIGINT  NOT NULL,
    line         BIGINT  NOT NULL,
    row_count    BIGINT  NOT NULL,
    events       BIGINT  NOT NULL,
    skipped      BIGINT  NOT NULL,
    rejected     BIGINT  NOT NULL,
    first_at     BIGINT  NOT NULL,
    last_at      BIGINT  NOT NULL,
    cluster_id   TEXT    NOT NULL,
    topic_id     TEXT    NOT NULL,
    started_at   BIGINT  NOT NULL,
    updated_at   BIGINT  NOT NULL,
    finished_at  BIGINT  NOT NULL
);

-- +goose Down
DROP TABLE ingest_import_files;
