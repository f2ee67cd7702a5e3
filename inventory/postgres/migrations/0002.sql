-- Which history this is: another database has another, and so has a schema that was made anew.
ALTER TABLE store ADD COLUMN history text COLLATE "C" NOT NULL DEFAULT gen_random_uuid()::text;

-- When a complete listing first ended: what it showed was there before. 0: before this was kept.
ALTER TABLE scope ADD COLUMN first_complete bigint;
UPDATE scope SET first_complete = 0 WHERE last_seen IS NOT NULL;
