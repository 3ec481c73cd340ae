-- A row is a run of an answer's titles, from its rank on: one row for each list, instead of one for each title. Rows from before have
-- title_ids empty and are runs of the one title_id.
ALTER TABLE served_raw ADD COLUMN IF NOT EXISTS title_ids Array(String) AFTER title_id;

ALTER TABLE served_raw ADD COLUMN IF NOT EXISTS scores Array(Float32) AFTER score;

ALTER TABLE served_raw ADD COLUMN IF NOT EXISTS sources Array(LowCardinality(String)) AFTER source;

ALTER TABLE served_raw ADD COLUMN IF NOT EXISTS propensities Array(Float64) AFTER propensity;

CREATE OR REPLACE VIEW served AS
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
    FROM served_raw FINAL
)
ARRAY JOIN
    run_titles AS title_id, run_scores AS score, run_sources AS source, run_propensities AS propensity, arrayEnumerate(run_titles) AS nth;
