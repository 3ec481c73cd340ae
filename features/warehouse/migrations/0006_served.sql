-- What was shown to whom, a row for each title of each answer. An answer that comes twice from the log has the same keys and values.
CREATE TABLE IF NOT EXISTS served_raw
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

-- The one reader of what was served: each title of an answer once.
CREATE VIEW IF NOT EXISTS served AS
SELECT
    profile_id, request_id, row, rank, at, rpc, bundle_id, policy, arms, country, device_class, degraded, history_length, kind,
    subject, title_id, score, source, propensity, feature_names, features
FROM served_raw FINAL;
