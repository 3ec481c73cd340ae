-- How often the engine looks for parts that others replaced. By default it may sleep for minutes, and an erasure ends only when the
-- parts that had the profile are gone from the disk.
ALTER TABLE events_raw MODIFY SETTING cleanup_delay_period = 2, max_cleanup_delay_period = 5, cleanup_delay_period_random_add = 1;
