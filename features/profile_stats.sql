-- include: input, touches, sessions
-- What is known of a profile's habits.
--
-- events           events of any type; titles, plays and watched_ms as in interactions.
-- sessions         runs of events without a gap over 30 minutes; session_ms is their length, first to last event, added up.
-- device_class     the most frequent one among its events, of equals the first by name; "unspecified" only when there is
--                  no other. country alike; empty only when there is no other.
WITH habits AS
(
    SELECT
        profile_id,
        count() AS events,
        min(effective_at) AS first_at,
        max(effective_at) AS last_at,
        sumMapIf([toString(input.device_class)], [toUInt64(1)], input.device_class != 'unspecified') AS devices,
        sumMapIf([toString(input.country)], [toUInt64(1)], input.country != '') AS countries
    FROM input
    GROUP BY profile_id
),
watching AS
(
    SELECT
        profile_id,
        uniqExact(title_id) AS titles,
        countIf(is_play) AS plays,
        sum(touches.watched_ms) AS watched_ms
    FROM touches
    GROUP BY profile_id
),
visits AS
(
    SELECT
        profile_id,
        count() AS sessions,
        sum(intDiv(toUnixTimestamp64Micro(ended_at) - toUnixTimestamp64Micro(started_at), 1000)) AS session_ms
    FROM sessions
    GROUP BY profile_id
)
SELECT
    habits.profile_id AS profile_id,
    toUInt64(habits.events) AS events,
    toUInt32(watching.titles) AS titles,
    toUInt32(watching.plays) AS plays,
    watching.watched_ms AS watched_ms,
    toUInt32(visits.sessions) AS sessions,
    visits.session_ms AS session_ms,
    habits.first_at AS first_at,
    habits.last_at AS last_at,
    if(empty(devices.1), 'unspecified', devices.1[indexOf(devices.2, arrayMax(devices.2))]) AS device_class,
    if(empty(countries.1), '', countries.1[indexOf(countries.2, arrayMax(countries.2))]) AS country
FROM habits
LEFT JOIN watching ON watching.profile_id = habits.profile_id
LEFT JOIN visits ON visits.profile_id = habits.profile_id
ORDER BY profile_id
