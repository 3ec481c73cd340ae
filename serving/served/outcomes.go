package served

// Outcomes is the query of what became of served titles, of one profile when its parameter profile is not empty: a row for each title of
// each answer with what the viewer did that named the answer's request_id, and the place, where the client said it.
const Outcomes = `
SELECT
    s.request_id AS request_id, s.profile_id AS profile_id, s.at AS at, s.rpc AS rpc, s.bundle_id AS bundle_id, s.policy AS policy,
    s.arms AS arms, s.row AS row, s.rank AS rank, s.kind AS kind, s.title_id AS title_id, s.score AS score, s.source AS source,
    s.propensity AS propensity, o.seen AS seen, o.clicked AS clicked, o.played AS played, o.watched_ms AS watched_ms
FROM (SELECT * FROM served WHERE {profile:String} = '' OR profile_id = {profile:String}) AS s
LEFT JOIN
(
    SELECT profile_id, request_id, title, at_row, max(was_seen) AS seen, max(was_click) AS clicked, max(was_play) AS played, max(ms) AS watched_ms
    FROM
    (
        SELECT profile_id, request_id, arrayJoin(seen_title_ids) AS title, row AS at_row, true AS was_seen, false AS was_click,
            false AS was_play, toInt64(0) AS ms
        FROM events WHERE type = 'slate_seen' AND request_id != ''
        UNION ALL
        SELECT profile_id, request_id, title_id AS title, row AS at_row, true AS was_seen, type = 'click' AS was_click,
            type IN ('play_start', 'progress', 'play_end') AS was_play, watched_ms AS ms
        FROM events WHERE type != 'slate_seen' AND request_id != '' AND title_id != ''
    )
    GROUP BY profile_id, request_id, title, at_row
) AS o ON o.profile_id = s.profile_id AND o.request_id = s.request_id AND o.title = s.title_id AND ifNull(o.at_row, toUInt32(0)) = s.row
ORDER BY s.at, s.request_id, s.row, s.rank`
