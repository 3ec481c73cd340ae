-- include: input
-- A session is a run of one profile's events, of any type, in which no event follows the one before it by more than 30
-- minutes. Defined here and nowhere else; features/online mirrors it.
SELECT
    profile_id,
    min(effective_at) AS started_at,
    max(effective_at) AS ended_at,
    count() AS events
FROM
(
    SELECT
        profile_id,
        effective_at,
        sum(starts) OVER (PARTITION BY profile_id ORDER BY effective_at, event_id ROWS UNBOUNDED PRECEDING) AS session
    FROM
    (
        SELECT
            profile_id,
            effective_at,
            event_id,
            -- The first event of a profile looks back on the zero time, a gap of decades.
            toUnixTimestamp64Micro(effective_at) - toUnixTimestamp64Micro(lagInFrame(effective_at)
                OVER (PARTITION BY profile_id ORDER BY effective_at, event_id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)) > 1800000000 AS starts
        FROM input
    )
)
GROUP BY profile_id, session
