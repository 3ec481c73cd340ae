-- include: input
-- The instant of the event number `position`, from 0, in order of time, among those about a title.
SELECT effective_at
FROM input
WHERE title_id != ''
ORDER BY effective_at
LIMIT 1 OFFSET {position:UInt64}
