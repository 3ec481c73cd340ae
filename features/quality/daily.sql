-- What the data-quality checks count, a row a day and measure: part, and the whole it is a share of (0 where it is a count).
-- Days are counted back from as_of: day 0 is the 24 hours up to and including as_of, day 1 the 24 hours before, and so on.
-- They follow effective_at, so that imported history has the days it happened on.
--
-- volume         events.
-- type           events of the type, of all events.
-- null           events without the field, of those whose type should have it.
-- unknown_title  events about a title that the catalogue has never held, of those about a title.
-- duplicate      events that say word for word what another event of the day says, under another id, of all events: a client
--                that makes a new id when it sends again. (Sent again under its id, the reader counts it once.)
-- history        part is the day of the first event there is; no row without events.
-- catalogue      part is how many titles the catalogue has ever held.
WITH
    toUnixTimestamp64Micro({as_of:DateTime64(6, 'UTC')}) AS until,
    judged AS
    (
        SELECT
            toUInt32(intDiv(until - toUnixTimestamp64Micro(effective_at), 86400000000)) AS day,
            profile_id, title_id, playable_id, play_id, type, occurred_at, session_id, device_class, country, surface,
            position_ms, watched_ms, duration_ms, query, request_id, seen_title_ids,
            type IN ('play_start', 'progress', 'play_end') AS is_play,
            type NOT IN ('search', 'slate_seen') AS is_about
        FROM events
        WHERE effective_at <= {as_of:DateTime64(6, 'UTC')}
          AND toUnixTimestamp64Micro(effective_at) > until - 86400000000 * toInt64({days:UInt32})
    )
SELECT day, measure.1 AS kind, measure.2 AS name, measure.3 AS part, measure.4 AS whole
FROM
(
    SELECT
        day,
        count() AS events,
        countIf(is_play) AS plays,
        countIf(is_about) AS about,
        countIf(title_id != '') AS titled,
        countIf(type IN ('progress', 'play_end')) AS watched,
        countIf(type = 'search') AS searches,
        countIf(type = 'slate_seen') AS slates,
        sumMap([toString(type)], [toUInt64(1)]) AS types,
        arrayConcat(
            [('volume', '', events, toUInt64(0)),
             ('unknown_title', '', countIf(title_id != '' AND title_id GLOBAL NOT IN (SELECT title_id FROM titles_raw)), titled),
             ('null', 'title_id', countIf(is_about AND title_id = ''), about),
             ('null', 'playable_id', countIf(is_play AND playable_id = ''), plays),
             ('null', 'play_id', countIf(is_play AND play_id = ''), plays),
             ('null', 'duration_ms', countIf(is_play AND duration_ms = 0), plays),
             ('null', 'watched_ms', countIf(type IN ('progress', 'play_end') AND watched_ms = 0), watched),
             ('null', 'query', countIf(type = 'search' AND query = ''), searches),
             ('null', 'seen_title_ids', countIf(type = 'slate_seen' AND empty(seen_title_ids)), slates),
             ('null', 'session_id', countIf(session_id = ''), events),
             ('null', 'device_class', countIf(device_class = 'unspecified'), events),
             ('null', 'country', countIf(country = ''), events),
             ('null', 'surface', countIf(surface = ''), events),
             ('null', 'request_id', countIf(request_id = ''), events)],
            arrayMap(t -> ('type', t, types.2[indexOf(types.1, t)], events),
                ['play_start', 'progress', 'play_end', 'click', 'like', 'dislike', 'not_interested', 'list_add', 'list_remove', 'search', 'slate_seen'])
        ) AS measures
    FROM judged
    GROUP BY day
)
ARRAY JOIN measures AS measure
UNION ALL
-- By day and content first, so that a large day can be counted on disk.
SELECT day, 'duplicate', '', toUInt64(sum(events) - count()), sum(events)
FROM
(
    SELECT day, count() AS events
    FROM judged
    GROUP BY day, sipHash128(profile_id, type, title_id, play_id, occurred_at, position_ms, watched_ms, session_id, query, request_id, seen_title_ids)
)
GROUP BY day
UNION ALL
SELECT toUInt32(0), 'history', '', toUInt64(intDiv(until - first, 86400000000)), toUInt64(0)
FROM (SELECT min(toUnixTimestamp64Micro(if(clock_skew != 0, received_at, occurred_at))) AS first, count() AS events FROM events_raw)
WHERE events > 0 AND first <= until
UNION ALL
SELECT toUInt32(0), 'catalogue', '', uniqExact(title_id), toUInt64(0) FROM titles_raw
