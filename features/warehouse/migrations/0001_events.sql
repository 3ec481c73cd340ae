-- Watch events as they came from the log, repeats included. A repeat has the same sorting key and a later offset in the
-- same partition; the version column makes the first one win. Partitions of the table follow received_at, so that months
-- can be dropped whole; FINAL looks across them.
CREATE TABLE IF NOT EXISTS events_raw
(
    event_id         UUID,
    schema_version   UInt16,
    profile_id       String,
    title_id         String,
    playable_id      String,
    play_id          String,
    type             Enum8('play_start' = 1, 'progress' = 2, 'play_end' = 3, 'click' = 4, 'like' = 5, 'dislike' = 6,
                           'not_interested' = 7, 'list_add' = 8, 'list_remove' = 9, 'search' = 10, 'slate_seen' = 11),
    occurred_at      DateTime64(6, 'UTC'),
    received_at      DateTime64(6, 'UTC'),
    session_id       String,
    device_class     Enum8('unspecified' = 0, 'tv' = 1, 'phone' = 2, 'tablet' = 3, 'desktop' = 4, 'console' = 5),
    country          LowCardinality(String),
    surface          LowCardinality(String),
    autoplay         Bool,
    position_ms      Int64,
    watched_ms       Int64,
    duration_ms      Int64,
    query            String,
    request_id       String,
    row              Nullable(UInt32),
    rank             Nullable(UInt32),
    seen_title_ids   Array(String),
    import_id        LowCardinality(String),
    clock_skew       Int64,
    kafka_partition  Int32,
    kafka_offset     Int64,
    -- The partition decides only for a profile that changed it with the topic's number of partitions.
    first_wins       UInt64 MATERIALIZED bitNot(bitShiftLeft(toUInt64(kafka_offset), 16) + toUInt16(kafka_partition))
)
ENGINE = ReplacingMergeTree(first_wins)
PARTITION BY toYYYYMM(received_at)
ORDER BY (profile_id, occurred_at, event_id)
SETTINGS
    -- The ledger repeats a range with its name as the token until its insert was answered.
    non_replicated_deduplication_window = 10000,
    -- What was answered outlives the machine's power as well as the process: 3 ms an insert.
    fsync_after_insert = 1, fsync_part_directory = 1;

-- The one reader of watch events: each event_id of a profile once, as it first arrived. effective_at is when it happened as
-- far as can be told: the server's clock where the client's is implausible.
CREATE VIEW IF NOT EXISTS events AS
SELECT
    event_id, schema_version, profile_id, title_id, playable_id, play_id, type, occurred_at, received_at, session_id,
    device_class, country, surface, autoplay, position_ms, watched_ms, duration_ms, query, request_id, row, rank,
    seen_title_ids, import_id, clock_skew, kafka_partition, kafka_offset,
    if(clock_skew != 0, received_at, occurred_at) AS effective_at
FROM events_raw FINAL
SETTINGS do_not_merge_across_partitions_select_final = 0;
