-- Which broker offsets the input of a build comes from.
SELECT
    kafka_partition AS partition,
    min(kafka_offset) AS first,
    max(kafka_offset) AS last,
    count() AS events
FROM events
WHERE effective_at <= {as_of:DateTime64(6, 'UTC')}
GROUP BY partition
ORDER BY partition
