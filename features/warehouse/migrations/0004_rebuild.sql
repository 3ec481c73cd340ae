-- How far a rebuild from the lake has come: the files that are wholly in the table with this identity. Empty between
-- rebuilds; the key '' marks the table as one a rebuild began.
CREATE TABLE IF NOT EXISTS rebuild_progress
(
    table_id  String,
    key       String,
    rows      UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (table_id, key);
