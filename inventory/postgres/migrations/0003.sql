-- The oldest schema whose program may write beside this one. A migration that only adds keeps it; one that removes or
-- changes what an older program uses raises it, a release after the program has stopped using that.
ALTER TABLE store ADD COLUMN min_compatible_version integer NOT NULL DEFAULT 3;

-- When a target entered its present state. Not known of before.
ALTER TABLE scope ADD COLUMN state_since bigint;

-- Which program ran a run.
CREATE TABLE process (
  process bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  replica text COLLATE "C" NOT NULL,
  version text COLLATE "C" NOT NULL,
  UNIQUE (replica, version)
);

-- A run is one account at one tick. run is a ULID, so runs sort by time. targets is {"state": number}, causes is
-- [[cause, targets], …]. A row with missed is for ticks at which no run began.
CREATE TABLE run (
  run       text COLLATE "C" PRIMARY KEY,
  account   text COLLATE "C" NOT NULL,
  tick      bigint NOT NULL,
  started   bigint,
  ended     bigint,
  status    text COLLATE "C" NOT NULL,
  missed    text COLLATE "C" NOT NULL DEFAULT '',
  ticks     integer NOT NULL DEFAULT 1,
  targets   jsonb NOT NULL DEFAULT '{}',
  failed    bigint NOT NULL DEFAULT 0,
  records   bigint NOT NULL DEFAULT 0,
  calls     bigint NOT NULL DEFAULT 0,
  throttles bigint NOT NULL DEFAULT 0,
  causes    jsonb NOT NULL DEFAULT '[]',
  process   bigint NOT NULL
);
CREATE INDEX run_account ON run (account, run);
CREATE INDEX run_running ON run (run) WHERE ended IS NULL;

-- Why targets failed. The same sentences come run after run, so runs name them by number. digest is of all of them: a
-- sentence may be longer than an index takes. used is the day of the last run that names it.
CREATE TABLE cause (
  cause  bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  digest bytea NOT NULL UNIQUE,
  state  text COLLATE "C" NOT NULL,
  reason text COLLATE "C" NOT NULL,
  error  text COLLATE "C" NOT NULL,
  hint   text COLLATE "C" NOT NULL,
  region text COLLATE "C" NOT NULL,
  kind   text COLLATE "C" NOT NULL,
  used   bigint NOT NULL
);

CREATE INDEX cause_used ON cause (used);

-- How each account signed in last.
CREATE TABLE sign_in (
  account    text COLLATE "C" PRIMARY KEY,
  account_id text COLLATE "C" NOT NULL,
  partition  text COLLATE "C" NOT NULL,
  arn        text COLLATE "C" NOT NULL,
  path       text COLLATE "C" NOT NULL,
  expires    bigint,
  checked    bigint NOT NULL,
  error      text COLLATE "C" NOT NULL,
  hint       text COLLATE "C" NOT NULL
);

CREATE VIEW runs AS
SELECT r.run, r.account, instant(r.tick) AS tick, instant(r.started) AS started, instant(r.ended) AS ended,
  r.status, r.missed, r.ticks, r.targets, r.failed, r.records, r.calls, r.throttles, p.replica, p.version
FROM run r JOIN process p ON p.process = r.process;
