-- The fixed input of a build: every deduplicated event up to and including the instant as_of that lies below the
-- recorded end of its broker partition. Partitions count from 0 and arrays from 1; a partition outside the array reads
-- as end 0, so nothing of it is taken.
SELECT
    event_id, profile_id, title_id, play_id, type, effective_at, device_class, country, autoplay, watched_ms, duration_ms,
    surface, request_id, row, rank, seen_title_ids
FROM events
WHERE effective_at <= {as_of:DateTime64(6, 'UTC')}
  AND kafka_offset < {input_ends:Array(Int64)}[kafka_partition + 1]
