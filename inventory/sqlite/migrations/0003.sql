-- Which history this is: another database has another, and so has one that was begun anew in its place.
CREATE TABLE history (id TEXT NOT NULL);
INSERT INTO history VALUES (lower(hex(randomblob(16))));

-- When a complete listing first ended: what it showed was there before. 0: before this was kept.
ALTER TABLE scope ADD COLUMN first_complete INTEGER;
UPDATE scope SET first_complete = 0 WHERE last_seen IS NOT NULL;
