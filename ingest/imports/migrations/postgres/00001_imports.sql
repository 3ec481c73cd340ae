-- +goose Up
CREATE TABLE ingest_imports (
    namespace     TEXT    NOT NULL PRIMARY KEY,
    content       TEXT    NOT NULL,
    acknowledged  BIGINT NOT NULL CHECK (acknowledged >= 0),
    prefix_digest TEXT    NOT NULL,
    started_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    finished_at   BIGINT NOT NULL
);

-- +goose Down
DROP TABLE ingest_imports;
