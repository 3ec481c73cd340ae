-- include: touches
-- What a profile and a title have to do with each other: one row a pair that has any event.
--
-- liked, disliked  the latest of like, dislike and not_interested wins; dislike and not_interested are both "disliked".
-- listed           the latest of list_add and list_remove wins.
-- abandoned        it was played, and every play was abandoned.
-- strength         10000ths: the plays' strengths added up, 10000 more when liked, 2000 more when listed, 500 when it was
--                  clicked but never played; at most 100000, and 0 when disliked.
-- watched_ms       the plays' watched time added up.
-- first_at         the pair's first event of any type; last_at and last_type its latest.
SELECT
    profile_id,
    title_id,
    toInt32(if(disliked, 0, least(100000,
        sum(touches.strength) + 10000 * liked + 2000 * listed + 500 * (max(clicked) AND NOT max(is_play))))) AS strength,
    toUInt32(countIf(is_play)) AS plays,
    sum(touches.watched_ms) AS watched_ms,
    min(touches.first_at) AS first_at,
    max(touches.last_at) AS last_at,
    ['play_start', 'progress', 'play_end', 'click', 'like', 'dislike', 'not_interested', 'list_add', 'list_remove'][max(last_event).3] AS last_type,
    toBool(plays > 0 AND countIf(is_play AND NOT touches.abandoned) = 0) AS abandoned,
    toBool(max(feedback_type) IN (6, 7)) AS disliked,
    toBool(max(feedback_type) = 5) AS liked,
    toBool(max(list_type) = 8) AS listed
FROM touches
GROUP BY profile_id, title_id
ORDER BY profile_id, title_id
