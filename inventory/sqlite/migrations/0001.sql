-- Instants are microseconds since 1970, UTC. They only grow, and each commit that changes something has a unique one, so
-- they also give the order of changes.

-- A scope is where resources live. account is the name that the configuration gave it last.
CREATE TABLE scope (
  scope       INTEGER PRIMARY KEY,
  partition   TEXT NOT NULL,
  account_id  TEXT NOT NULL,
  region      TEXT NOT NULL,
  kind        TEXT NOT NULL,
  account     TEXT NOT NULL,
  extra_tags  TEXT NOT NULL DEFAULT '{}',
  run         TEXT NOT NULL DEFAULT '',
  state       TEXT NOT NULL DEFAULT '',
  reason      TEXT NOT NULL DEFAULT '',
  error       TEXT NOT NULL DEFAULT '',
  hint        TEXT NOT NULL DEFAULT '',
  expected    INTEGER NOT NULL DEFAULT 0,
  records     INTEGER NOT NULL DEFAULT 0,
  calls       INTEGER NOT NULL DEFAULT 0,
  throttles   INTEGER NOT NULL DEFAULT 0,
  started     INTEGER,
  ended       INTEGER,
  last_seen   INTEGER,
  retired     INTEGER,
  why         TEXT,
  UNIQUE (account_id, partition, region, kind)
);
CREATE INDEX scope_account ON scope (account, region, kind);

-- A version is a resource from one change to the next. Its body is in another table, so that scans read little.
CREATE TABLE version (
  version     INTEGER PRIMARY KEY,
  scope       INTEGER NOT NULL REFERENCES scope,
  id          TEXT NOT NULL,
  sum         BLOB NOT NULL,
  sum_version INTEGER NOT NULL,
  name        TEXT NOT NULL,
  state       TEXT NOT NULL,
  type        TEXT NOT NULL,
  tags        TEXT NOT NULL,
  run         TEXT NOT NULL,
  first_seen  INTEGER NOT NULL,
  state_since INTEGER NOT NULL,
  valid_from  INTEGER NOT NULL,
  valid_to    INTEGER,
  ended       TEXT,
  body        INTEGER NOT NULL
);
CREATE UNIQUE INDEX version_live ON version (scope, id) WHERE valid_to IS NULL;
CREATE INDEX version_id ON version (id);
CREATE INDEX version_from ON version (valid_from);
CREATE INDEX version_to ON version (valid_to) WHERE valid_to IS NOT NULL;

-- The resource as AWS describes it, compressed with zstd; unzstd decompresses it.
CREATE TABLE body (body INTEGER PRIMARY KEY, data BLOB NOT NULL);

-- The rows that scope updates (turns) have staged, which no reader sees. A row outlives its update only if the process
-- was killed.
CREATE TABLE staged (
  turn INTEGER NOT NULL, id TEXT NOT NULL, how INTEGER NOT NULL, sum BLOB NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
  type TEXT NOT NULL, tags TEXT NOT NULL, body INTEGER NOT NULL, first_seen INTEGER, state_since INTEGER,
  PRIMARY KEY (turn, id)
) WITHOUT ROWID;

-- The documented views: see docs/queries.md. Their columns are a contract.
CREATE VIEW versions AS
SELECT s.kind, v.id, v.name, v.state, v.type, s.account, s.account_id, s.partition, s.region, v.tags, s.extra_tags, v.run,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.first_seen / 1e6, 'unixepoch') AS first_seen,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.state_since / 1e6, 'unixepoch') AS state_since,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.valid_from / 1e6, 'unixepoch') AS valid_from,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.valid_to / 1e6, 'unixepoch') AS valid_to,
  v.ended,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.last_seen / 1e6, 'unixepoch') AS last_seen,
  (SELECT unzstd(b.data) FROM body b WHERE b.body = v.body) AS data
FROM version v JOIN scope s ON s.scope = v.scope;

CREATE VIEW resources AS
SELECT s.kind, v.id, v.name, v.state, v.type, s.account, s.account_id, s.partition, s.region, v.tags, s.extra_tags, v.run,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.first_seen / 1e6, 'unixepoch') AS first_seen,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.state_since / 1e6, 'unixepoch') AS state_since,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.valid_from / 1e6, 'unixepoch') AS valid_from,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.last_seen / 1e6, 'unixepoch') AS last_seen,
  (SELECT unzstd(b.data) FROM body b WHERE b.body = v.body) AS data
FROM version v JOIN scope s ON s.scope = v.scope WHERE v.valid_to IS NULL;

CREATE VIEW targets AS
SELECT s.account, s.account_id, s.partition, s.region, s.kind, s.state, s.reason, s.error, s.hint, s.records, s.run,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.started / 1e6, 'unixepoch') AS started,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.ended / 1e6, 'unixepoch') AS ended,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.last_seen / 1e6, 'unixepoch') AS last_seen,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.retired / 1e6, 'unixepoch') AS retired, s.why
FROM scope s;
