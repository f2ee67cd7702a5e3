-- Bodies of rows that were listed together are compressed together, as a pack. The number of a version leads to its body:
-- the pack is version >> 6, the line in it version & 63. A body of the earlier schema becomes a pack of one.
DROP VIEW versions;
DROP VIEW resources;

UPDATE version SET version = -(body << 6);
UPDATE version SET version = -version;
ALTER TABLE version DROP COLUMN body;

-- Up to 64 bodies, a line each, compressed with zstd; unzstd(data, line) decompresses one.
ALTER TABLE body RENAME COLUMN body TO pack;

-- The table staged may only hold rows of a killed process, which are dropped. From now on a row names its version.
DELETE FROM body WHERE pack IN (SELECT body FROM staged);
DELETE FROM staged;
ALTER TABLE staged RENAME COLUMN body TO version;

CREATE VIEW versions AS
SELECT s.kind, v.id, v.name, v.state, v.type, s.account, s.account_id, s.partition, s.region, v.tags, s.extra_tags, v.run,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.first_seen / 1e6, 'unixepoch') AS first_seen,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.state_since / 1e6, 'unixepoch') AS state_since,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.valid_from / 1e6, 'unixepoch') AS valid_from,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.valid_to / 1e6, 'unixepoch') AS valid_to,
  v.ended,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.last_seen / 1e6, 'unixepoch') AS last_seen,
  (SELECT unzstd(b.data, v.version & 63) FROM body b WHERE b.pack = v.version >> 6) AS data
FROM version v JOIN scope s ON s.scope = v.scope;

CREATE VIEW resources AS
SELECT s.kind, v.id, v.name, v.state, v.type, s.account, s.account_id, s.partition, s.region, v.tags, s.extra_tags, v.run,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.first_seen / 1e6, 'unixepoch') AS first_seen,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.state_since / 1e6, 'unixepoch') AS state_since,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.valid_from / 1e6, 'unixepoch') AS valid_from,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.last_seen / 1e6, 'unixepoch') AS last_seen,
  (SELECT unzstd(b.data, v.version & 63) FROM body b WHERE b.pack = v.version >> 6) AS data
FROM version v JOIN scope s ON s.scope = v.scope WHERE v.valid_to IS NULL;
