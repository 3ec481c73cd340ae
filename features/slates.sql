-- include: input, touches
-- What a profile was shown of an answer, and what it made of it: one row a row of an answer that was seen. Only what says which
-- answer it is of can be told apart from what was found another way, so that slates without a request_id are left out.
--
-- row, at       the row of the answer (0 where the client does not say), and when it was first seen.
-- title_ids     in the order of their ranks, each once; a client that reports a row in pieces is put together again.
-- ranks         their 0-based ranks: the event's rank, 0 where it has none, counted on in the order of seen_title_ids.
-- clicked       1 for what was clicked or played out of this row, else 0.
-- strengths     the strength of what was played out of it, of the best of several plays; -1 where nothing was.
--
-- Only a profile's latest 200 are kept.
WITH seen AS
(
    SELECT
        profile_id,
        request_id,
        toUInt32(ifNull(input.row, 0)) AS line,
        min(effective_at) AS first_seen,
        argMin(input.surface, (effective_at, UUIDToNum(event_id))) AS place,
        argMin(toString(input.device_class), (effective_at, UUIDToNum(event_id))) AS device,
        arraySort(arrayFlatten(groupArray(arrayMap(
            (title, i) -> (toInt32(ifNull(rank, 0) + i - 1), title), seen_title_ids, arrayEnumerate(seen_title_ids))))) AS reported,
        arrayFilter((x, i) -> indexOf(reported.2, x.2) = i, reported, arrayEnumerate(reported)) AS shown
    FROM input
    WHERE type = 'slate_seen' AND request_id != ''
    GROUP BY profile_id, request_id, line
    ORDER BY profile_id, first_seen DESC, request_id, line
    LIMIT 200 BY profile_id
),
acts AS
(
    SELECT
        profile_id,
        request_id,
        toUInt32(ifNull(input.row, 0)) AS line,
        title_id,
        type != 'click' AS is_play,
        if(is_play, input.play_id, '') AS play_id
    FROM input
    WHERE type IN ('click', 'play_start', 'progress', 'play_end') AND request_id != ''
    GROUP BY profile_id, request_id, line, title_id, is_play, play_id
),
answered AS
(
    SELECT profile_id, request_id, line, groupArray(title_id) AS titles, groupArray(best) AS plays
    FROM
    (
        SELECT
            acts.profile_id AS profile_id,
            acts.request_id AS request_id,
            acts.line AS line,
            acts.title_id AS title_id,
            max(if(acts.is_play, touches.strength, -1)) AS best
        FROM acts
        LEFT JOIN touches ON touches.profile_id = acts.profile_id AND touches.title_id = acts.title_id
            AND touches.is_play = acts.is_play AND touches.play_id = acts.play_id
        GROUP BY profile_id, request_id, line, title_id
    )
    GROUP BY profile_id, request_id, line
)
SELECT
    seen.profile_id AS profile_id,
    seen.request_id AS request_id,
    seen.line AS row,
    seen.first_seen AS at,
    seen.place AS surface,
    seen.device AS device_class,
    seen.shown.2 AS title_ids,
    seen.shown.1 AS ranks,
    arrayMap(title -> toInt32(has(answered.titles, title)), title_ids) AS clicked,
    arrayMap(title -> toInt32(if(has(answered.titles, title), answered.plays[indexOf(answered.titles, title)], -1)), title_ids) AS strengths
FROM seen
LEFT JOIN answered ON answered.profile_id = seen.profile_id AND answered.request_id = seen.request_id AND answered.line = seen.line
ORDER BY profile_id, at, request_id, row
