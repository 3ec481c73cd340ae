-- include: touches, decay
-- How a title fares, over all profiles.
--
-- completion       mean completion of its plays, 10000ths, rounded down; 0 without plays.
-- popularity       strength of all its plays added up, 10000ths: of one full watch, 10000.
-- popularity_7d    the same decayed to as_of with a half-life of 7 days, in 10^-10ths: a full watch this instant is 10^10.
-- popularity_30d   with a half-life of 30 days.
-- likes, dislikes, lists   profiles whose latest word on it says so.
SELECT
    title_id,
    toUInt32(uniqExact(profile_id)) AS profiles,
    toUInt32(countIf(is_play)) AS plays,
    toUInt32(countIf(is_play AND touches.completion >= 9000)) AS finished_plays,
    toUInt32(countIf(is_play AND touches.abandoned)) AS abandoned_plays,
    toInt32(intDiv(sumIf(touches.completion, is_play), greatest(plays, 1))) AS completion,
    sum(touches.watched_ms) AS watched_ms,
    sum(toInt64(touches.strength)) AS popularity,
    sum(touches.strength * toInt64(decay(age, toInt64(604800000000)))) AS popularity_7d,
    sum(touches.strength * toInt64(decay(age, toInt64(2592000000000)))) AS popularity_30d,
    toUInt32(countIf(feedback_type = 5)) AS likes,
    toUInt32(countIf(feedback_type IN (6, 7))) AS dislikes,
    toUInt32(countIf(list_type = 8)) AS lists,
    min(touches.first_at) AS first_event_at,
    max(touches.last_at) AS last_event_at
FROM
(
    SELECT
        *,
        toUnixTimestamp64Micro({as_of:DateTime64(6, 'UTC')}) - toUnixTimestamp64Micro(last_at) AS age
    FROM touches
) AS touches
GROUP BY title_id
ORDER BY title_id
