-- +goose Up
-- The log that the acknowledged events are on; empty for an import from before this was kept.
ALTER TABLE ingest_imports ADD COLUMN cluster_id TEXT NOT NULL DEFAULT '';
ALTER TABLE ingest_imports ADD COLUMN topic_id TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE ingest_imports DROP COLUMN topic_id;
ALTER TABLE ingest_imports DROP COLUMN cluster_id;
