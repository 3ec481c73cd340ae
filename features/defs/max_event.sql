-- The instant of the last event, which --as-of max-event stands for.
SELECT max(effective_at) AS at, count() AS events FROM events
