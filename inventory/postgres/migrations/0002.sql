-- The id of this history. Another database has another id, also a schema that replaces this one.
ALTER TABLE store ADD COLUMN history text COLLATE "C" NOT NULL DEFAULT gen_random_uuid()::text;

-- When a complete listing first ended: the resources that it found existed before. 0: before this column existed.
ALTER TABLE scope ADD COLUMN first_complete bigint;
UPDATE scope SET first_complete = 0 WHERE last_seen IS NOT NULL;
