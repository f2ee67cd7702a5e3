-- The oldest schema whose program may write beside this one. A migration that only adds keeps it; one that removes or
-- changes what an older program uses raises it, a release after the program has stopped using that.
ALTER TABLE history ADD COLUMN min_compatible_version INTEGER NOT NULL DEFAULT 4;

-- When a target entered its present state. Not known of before.
ALTER TABLE scope ADD COLUMN state_since INTEGER;

-- Which program ran a run.
CREATE TABLE process (
  process INTEGER PRIMARY KEY,
  replica TEXT NOT NULL,
  version TEXT NOT NULL,
  UNIQUE (replica, version)
);

-- A run is one account at one tick. run is a ULID, so runs sort by time. targets is {"state": number}, causes is
-- [[cause, targets], …]. A row with missed is for ticks at which no run began.
CREATE TABLE run (
  run       TEXT PRIMARY KEY,
  account   TEXT NOT NULL,
  tick      INTEGER NOT NULL,
  started   INTEGER,
  ended     INTEGER,
  status    TEXT NOT NULL,
  missed    TEXT NOT NULL DEFAULT '',
  ticks     INTEGER NOT NULL DEFAULT 1,
  targets   TEXT NOT NULL DEFAULT '{}',
  failed    INTEGER NOT NULL DEFAULT 0,
  records   INTEGER NOT NULL DEFAULT 0,
  calls     INTEGER NOT NULL DEFAULT 0,
  throttles INTEGER NOT NULL DEFAULT 0,
  causes    TEXT NOT NULL DEFAULT '[]',
  process   INTEGER NOT NULL REFERENCES process
) WITHOUT ROWID;
CREATE INDEX run_account ON run (account, run);
CREATE INDEX run_running ON run (run) WHERE ended IS NULL;

-- Why targets failed. The same sentences come run after run, so runs name them by number. used is the day of the last
-- run that names it.
CREATE TABLE cause (
  cause  INTEGER PRIMARY KEY,
  state  TEXT NOT NULL,
  reason TEXT NOT NULL,
  error  TEXT NOT NULL,
  hint   TEXT NOT NULL,
  region TEXT NOT NULL,
  kind   TEXT NOT NULL,
  used   INTEGER NOT NULL,
  UNIQUE (state, reason, error, hint, region, kind)
);

CREATE INDEX cause_used ON cause (used);

-- How each account signed in last.
CREATE TABLE sign_in (
  account    TEXT PRIMARY KEY,
  account_id TEXT NOT NULL,
  partition  TEXT NOT NULL,
  arn        TEXT NOT NULL,
  path       TEXT NOT NULL,
  expires    INTEGER,
  checked    INTEGER NOT NULL,
  error      TEXT NOT NULL,
  hint       TEXT NOT NULL
) WITHOUT ROWID;

CREATE VIEW runs AS
SELECT r.run, r.account,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.tick / 1e6, 'unixepoch') AS tick,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started / 1e6, 'unixepoch') AS started,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.ended / 1e6, 'unixepoch') AS ended,
  r.status, r.missed, r.ticks, r.targets, r.failed, r.records, r.calls, r.throttles, p.replica, p.version
FROM run r JOIN process p ON p.process = r.process;
