-- include: input
-- Watch strength, defined here and nowhere else (features/online mirrors it, and a test holds the two equal).
--
-- One row a profile, title and play; what is not part of a play (clicks, likes, lists) shares one row with is_play = 0.
-- Within a play watched_ms is cumulative, so the maximum counts; the length is the longest one reported, and a play is
-- an autoplay when any of its events says so. "Last" is by (effective_at, event_id), which no two events share.
--
-- completion  10000ths of the length that were watched, at most 10000. Length unknown: 5000 from 60 s on, else 0.
-- abandoned   watched under 5%, or under 60 s; of a title shorter than two minutes, under half of it.
-- strength    10000ths; 0 when abandoned, else by length: under 20 min c*c (finishing a short one is cheap), under
--             60 min c, longer 1-(1-c)*(1-c) (an hour into a film is a choice); halved for an autoplay, rounded down.
SELECT
    *,
    is_play AND (watched_ms < least(60000, if(duration_ms > 0, intDiv(duration_ms + 1, 2), 60000)) OR completion < 500) AS abandoned,
    toInt32(intDiv(
        multiIf(
            NOT is_play OR abandoned, 0,
            duration_ms = 0, completion,
            duration_ms < 1200000, intDiv(completion * completion, 10000),
            duration_ms < 3600000, completion,
            intDiv(completion * (20000 - completion), 10000)),
        if(autoplay, 2, 1))) AS strength
FROM
(
    SELECT
        profile_id,
        title_id,
        type IN ('play_start', 'progress', 'play_end') AS is_play,
        if(is_play, events_in.play_id, '') AS play_id,
        count() AS events,
        min(effective_at) AS first_at,
        max(effective_at) AS last_at,
        if(is_play, max(events_in.watched_ms), 0) AS watched_ms,
        if(is_play, max(events_in.duration_ms), 0) AS duration_ms,
        is_play AND max(events_in.autoplay) AS autoplay,
        toInt64(multiIf(
            duration_ms > 0, least(10000, intDiv(watched_ms * 10000, duration_ms)),
            watched_ms >= 60000, 5000,
            0)) AS completion,
        max((effective_at, UUIDToNum(event_id), toInt8(type))) AS last_event,
        maxIf((effective_at, UUIDToNum(event_id), toInt8(type)), type IN ('like', 'dislike', 'not_interested')).3 AS feedback_type,
        maxIf((effective_at, UUIDToNum(event_id), toInt8(type)), type IN ('list_add', 'list_remove')).3 AS list_type,
        countIf(type = 'click') > 0 AS clicked
    FROM input AS events_in
    WHERE title_id != '' AND type NOT IN ('search', 'slate_seen')
    GROUP BY profile_id, title_id, is_play, play_id
)
