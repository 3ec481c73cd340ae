CREATE TABLE IF NOT EXISTS schema_migrations_local ON CLUSTER `prod`
(
    version    UInt32,
    name       String,
    checksum   String,
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree ORDER BY version;

CREATE TABLE IF NOT EXISTS schema_migrations ON CLUSTER `prod` AS schema_migrations_local
ENGINE = Distributed('prod', 'marquee', 'schema_migrations_local', cityHash64(version));

-- Watch events as they came from the log, repeats included. A repeat has the same sorting key and a later offset in the
-- same partition; the version column makes the first one win. Partitions of the table follow received_at, so that months
-- can be dropped whole; FINAL looks across them.
CREATE TABLE IF NOT EXISTS events_raw_local ON CLUSTER `prod`
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

CREATE TABLE IF NOT EXISTS events_raw ON CLUSTER `prod` AS events_raw_local
ENGINE = Distributed('prod', 'marquee', 'events_raw_local', cityHash64(profile_id));

-- The one reader of watch events: each event_id of a profile once, as it first arrived. effective_at is when it happened as
-- far as can be told: the server's clock where the client's is implausible.
CREATE VIEW IF NOT EXISTS events_local ON CLUSTER `prod` AS
SELECT
    event_id, schema_version, profile_id, title_id, playable_id, play_id, type, occurred_at, received_at, session_id,
    device_class, country, surface, autoplay, position_ms, watched_ms, duration_ms, query, request_id, row, rank,
    seen_title_ids, import_id, clock_skew, kafka_partition, kafka_offset,
    if(clock_skew != 0, received_at, occurred_at) AS effective_at
FROM events_raw_local FINAL
SETTINGS do_not_merge_across_partitions_select_final = 0;

CREATE TABLE IF NOT EXISTS events ON CLUSTER `prod` AS events_local
ENGINE = Distributed('prod', 'marquee', 'events_local', cityHash64(profile_id));

-- Every revision of every title that the catalogue published; the highest revision of a title is what holds.
CREATE TABLE IF NOT EXISTS titles_raw_local ON CLUSTER `prod`
(
    title_id      String,
    kind          LowCardinality(String),
    name          String,
    year          Int32,
    added_at      DateTime64(6, 'UTC'),
    genres        Array(String),
    maturity_age  Nullable(UInt8),
    runtime_ms    Int64,
    language      LowCardinality(String),
    revision      Int64,
    deleted       Bool,
    proto         String
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY title_id;

CREATE TABLE IF NOT EXISTS titles_raw ON CLUSTER `prod` AS titles_raw_local
ENGINE = Distributed('prod', 'marquee', 'titles_raw_local', cityHash64(title_id));

-- The titles that stand: the latest revision of each, withdrawn ones left out.
CREATE VIEW IF NOT EXISTS titles_local ON CLUSTER `prod` AS
SELECT title_id, kind, name, year, added_at, genres, maturity_age, runtime_ms, language, revision, proto
FROM titles_raw_local FINAL
WHERE NOT deleted;

CREATE TABLE IF NOT EXISTS titles ON CLUSTER `prod` AS titles_local
ENGINE = Distributed('prod', 'marquee', 'titles_local', cityHash64(title_id));

-- What a newer client says of an event and the release that stored it did not know: fields in protobuf wire form.
ALTER TABLE events_raw_local ON CLUSTER `prod` ADD COLUMN IF NOT EXISTS unknown_fields String AFTER kafka_offset;

-- What a newer client says of an event and the release that stored it did not know: fields in protobuf wire form.
ALTER TABLE events_raw ON CLUSTER `prod` ADD COLUMN IF NOT EXISTS unknown_fields String AFTER kafka_offset;

CREATE OR REPLACE VIEW events_local ON CLUSTER `prod` AS
SELECT
    event_id, schema_version, profile_id, title_id, playable_id, play_id, type, occurred_at, received_at, session_id,
    device_class, country, surface, autoplay, position_ms, watched_ms, duration_ms, query, request_id, row, rank,
    seen_title_ids, import_id, clock_skew, kafka_partition, kafka_offset, unknown_fields,
    if(clock_skew != 0, received_at, occurred_at) AS effective_at
FROM events_raw_local FINAL
SETTINGS do_not_merge_across_partitions_select_final = 0;

CREATE OR REPLACE TABLE events ON CLUSTER `prod` AS events_local
ENGINE = Distributed('prod', 'marquee', 'events_local', cityHash64(profile_id));

-- How far a rebuild from the lake has come: the files that are wholly in the table with this identity. Empty between
-- rebuilds; the key '' marks the table as one a rebuild began.
CREATE TABLE IF NOT EXISTS rebuild_progress_local ON CLUSTER `prod`
(
    table_id  String,
    key       String,
    rows      UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (table_id, key);

CREATE TABLE IF NOT EXISTS rebuild_progress ON CLUSTER `prod` AS rebuild_progress_local
ENGINE = Distributed('prod', 'marquee', 'rebuild_progress_local', cityHash64(table_id));

-- How often the engine looks for parts that others replaced. By default it may sleep for minutes, and an erasure ends only when the
-- parts that had the profile are gone from the disk.
ALTER TABLE events_raw_local ON CLUSTER `prod` MODIFY SETTING cleanup_delay_period = 2, max_cleanup_delay_period = 5, cleanup_delay_period_random_add = 1;

-- What was shown to whom, a row for each title of each answer. An answer that comes twice from the log has the same keys and values.
CREATE TABLE IF NOT EXISTS served_raw_local ON CLUSTER `prod`
(
    profile_id      String,
    request_id      String,
    row             UInt32,
    rank            UInt32,
    at              DateTime64(6, 'UTC'),
    rpc             LowCardinality(String),
    bundle_id       LowCardinality(String),
    policy          LowCardinality(String),
    arms            Map(String, String),
    country         LowCardinality(String),
    device_class    LowCardinality(String),
    degraded        Array(String),
    history_length  UInt32,
    kind            LowCardinality(String),
    subject         String,
    title_id        String,
    score           Float32,
    source          LowCardinality(String),
    propensity      Float64,
    feature_names   Array(String),
    features        Array(Float32)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (profile_id, request_id, row, rank)
TTL toDateTime(at) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    -- As of events_raw: an erasure ends only when the parts that had the profile are gone from the disk.
    cleanup_delay_period = 2, max_cleanup_delay_period = 5, cleanup_delay_period_random_add = 1;

CREATE TABLE IF NOT EXISTS served_raw ON CLUSTER `prod` AS served_raw_local
ENGINE = Distributed('prod', 'marquee', 'served_raw_local', cityHash64(profile_id));

-- The one reader of what was served: each title of an answer once.
CREATE VIEW IF NOT EXISTS served_local ON CLUSTER `prod` AS
SELECT
    profile_id, request_id, row, rank, at, rpc, bundle_id, policy, arms, country, device_class, degraded, history_length, kind,
    subject, title_id, score, source, propensity, feature_names, features
FROM served_raw_local FINAL;

CREATE TABLE IF NOT EXISTS served ON CLUSTER `prod` AS served_local
ENGINE = Distributed('prod', 'marquee', 'served_local', cityHash64(profile_id));

-- A row is a run of an answer's titles, from its rank on: one row for each list, instead of one for each title. Rows from before have
-- title_ids empty and are runs of the one title_id.
ALTER TABLE served_raw_local ON CLUSTER `prod` ADD COLUMN IF NOT EXISTS title_ids Array(String) AFTER title_id;

-- A row is a run of an answer's titles, from its rank on: one row for each list, instead of one for each title. Rows from before have
-- title_ids empty and are runs of the one title_id.
ALTER TABLE served_raw ON CLUSTER `prod` ADD COLUMN IF NOT EXISTS title_ids Array(String) AFTER title_id;

ALTER TABLE served_raw_local ON CLUSTER `prod` ADD COLUMN IF NOT EXISTS scores Array(Float32) AFTER score;

ALTER TABLE served_raw ON CLUSTER `prod` ADD COLUMN IF NOT EXISTS scores Array(Float32) AFTER score;

ALTER TABLE served_raw_local ON CLUSTER `prod` ADD COLUMN IF NOT EXISTS sources Array(LowCardinality(String)) AFTER source;

ALTER TABLE served_raw ON CLUSTER `prod` ADD COLUMN IF NOT EXISTS sources Array(LowCardinality(String)) AFTER source;

ALTER TABLE served_raw_local ON CLUSTER `prod` ADD COLUMN IF NOT EXISTS propensities Array(Float64) AFTER propensity;

ALTER TABLE served_raw ON CLUSTER `prod` ADD COLUMN IF NOT EXISTS propensities Array(Float64) AFTER propensity;

CREATE OR REPLACE VIEW served_local ON CLUSTER `prod` AS
SELECT
    profile_id, request_id, row, toUInt32(first_rank + nth - 1) AS rank, at, rpc, bundle_id, policy, arms, country, device_class, degraded,
    history_length, kind, subject, title_id, score, source, propensity, feature_names,
    arraySlice(run_features, (nth - 1) * length(feature_names) + 1, length(feature_names)) AS features
FROM
(
    SELECT
        profile_id, request_id, row, rank AS first_rank, at, rpc, bundle_id, policy, arms, country, device_class, degraded, history_length,
        kind, subject, feature_names, features AS run_features, empty(title_ids) AS alone,
        if(alone, [title_id], title_ids) AS run_titles, if(alone, [score], scores) AS run_scores,
        if(alone, [source], sources) AS run_sources, if(alone, [propensity], propensities) AS run_propensities
    FROM served_raw_local FINAL
)
ARRAY JOIN
    run_titles AS title_id, run_scores AS score, run_sources AS source, run_propensities AS propensity, arrayEnumerate(run_titles) AS nth;

CREATE OR REPLACE TABLE served ON CLUSTER `prod` AS served_local
ENGINE = Distributed('prod', 'marquee', 'served_local', cityHash64(profile_id));
