-- include: input
-- How many events of the input are about a title.
SELECT count() FROM input WHERE title_id != ''
