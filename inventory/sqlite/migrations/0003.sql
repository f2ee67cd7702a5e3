-- The id of this history. Another database has another id, also one that replaces this database.
CREATE TABLE history (id TEXT NOT NULL);
INSERT INTO history VALUES (lower(hex(randomblob(16))));

-- When a complete listing first ended: the resources that it found existed before. 0: before this column existed.
ALTER TABLE scope ADD COLUMN first_complete INTEGER;
UPDATE scope SET first_complete = 0 WHERE last_seen IS NOT NULL;
