-- +goose Up
CREATE TABLE ingest_partitions (
    topic        TEXT    NOT NULL,
    partition_no BIGINT NOT NULL,
    epoch        BIGINT NOT NULL CHECK (epoch > 0),
    next_offset  BIGINT NOT NULL CHECK (next_offset >= 0),
    holder       TEXT    NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (topic, partition_no)
);

CREATE TABLE ingest_ranges (
    topic          TEXT    NOT NULL,
    partition_no   BIGINT NOT NULL,
    first_offset   BIGINT NOT NULL CHECK (first_offset >= 0),
    last_offset    BIGINT NOT NULL CHECK (last_offset >= first_offset),
    epoch          BIGINT NOT NULL,
    state          TEXT    NOT NULL CHECK (state IN ('open', 'done', 'lost')),
    event_count    BIGINT NOT NULL,
    dead_count     BIGINT NOT NULL,
    warehouse_done BOOLEAN NOT NULL,
    lake_done      BOOLEAN NOT NULL,
    files          TEXT    NOT NULL,
    opened_at      BIGINT NOT NULL,
    finished_at    BIGINT NOT NULL,
    PRIMARY KEY (topic, partition_no, first_offset)
);

-- One range of a partition is in flight at a time.
CREATE UNIQUE INDEX ingest_ranges_open ON ingest_ranges (topic, partition_no) WHERE state = 'open';
CREATE INDEX ingest_ranges_finished ON ingest_ranges (finished_at) WHERE state <> 'open';

-- +goose Down
DROP TABLE ingest_ranges;
DROP TABLE ingest_partitions;
