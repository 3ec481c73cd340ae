-- +goose Up
-- CRC-32C of what the row says; -1 where it was written before there were checksums.
ALTER TABLE ingest_partitions ADD COLUMN checksum BIGINT NOT NULL DEFAULT -1;
ALTER TABLE ingest_ranges ADD COLUMN checksum BIGINT NOT NULL DEFAULT -1;

-- +goose Down
ALTER TABLE ingest_ranges DROP COLUMN checksum;
ALTER TABLE ingest_partitions DROP COLUMN checksum;
