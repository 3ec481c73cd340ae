-- What a newer client says of an event and the release that stored it did not know: fields in protobuf wire form.
ALTER TABLE events_raw ADD COLUMN IF NOT EXISTS unknown_fields String AFTER kafka_offset;

CREATE OR REPLACE VIEW events AS
SELECT
    event_id, schema_version, profile_id, title_id, playable_id, play_id, type, occurred_at, received_at, session_id,
    device_class, country, surface, autoplay, position_ms, watched_ms, duration_ms, query, request_id, row, rank,
    seen_title_ids, import_id, clock_skew, kafka_partition, kafka_offset, unknown_fields,
    if(clock_skew != 0, received_at, occurred_at) AS effective_at
FROM events_raw FINAL
SETTINGS do_not_merge_across_partitions_select_final = 0;
