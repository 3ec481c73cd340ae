-- include: touches
-- What a profile played, oldest first: one entry a play, placed at the play's first event; plays of one title in a row
-- (episodes of a series) are one entry, whose time is its last play's and whose strength is their sum, at most 100000.
-- Abandoned plays are in it, with strength 0. Only the latest 500 entries are kept; length counts them all.
WITH plays AS
(
    SELECT
        profile_id,
        title_id,
        play_id,
        first_at,
        touches.strength AS strength,
        title_id != lagInFrame(title_id) OVER (PARTITION BY profile_id ORDER BY first_at, title_id, play_id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS starts
    FROM touches
    WHERE is_play
),
runs AS
(
    SELECT
        profile_id,
        title_id,
        strength,
        first_at,
        sum(starts) OVER (PARTITION BY profile_id ORDER BY first_at, title_id, play_id ROWS UNBOUNDED PRECEDING) AS run
    FROM plays
),
entries AS
(
    SELECT
        profile_id,
        run,
        min(title_id) AS title_id,
        toInt32(least(100000, sum(runs.strength))) AS strength,
        max(first_at) AS at
    FROM runs
    GROUP BY profile_id, run
)
SELECT
    profile_id,
    length,
    arrayMap(entry -> entry.2, latest) AS title_ids,
    arrayMap(entry -> entry.3, latest) AS strengths,
    arrayMap(entry -> entry.4, latest) AS at
FROM
(
    SELECT
        profile_id,
        toUInt32(count()) AS length,
        arraySlice(arraySort(groupArray((run, title_id, strength, at))), -500) AS latest
    FROM entries
    GROUP BY profile_id
)
ORDER BY profile_id
