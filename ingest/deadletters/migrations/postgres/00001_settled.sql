-- +goose Up
CREATE TABLE ingest_dead_letters_settled (
    cluster_id   TEXT    NOT NULL,
    topic_id     TEXT    NOT NULL,
    partition_no INTEGER NOT NULL,
    log_offset   BIGINT NOT NULL,
    outcome      TEXT    NOT NULL CHECK (outcome IN ('replayed', 'dropped')),
    settled_at   BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, topic_id, partition_no, log_offset)
);

-- +goose Down
DROP TABLE ingest_dead_letters_settled;
