-- Instants are microseconds since 1970, UTC. Text is compared by its bytes, as in SQLite, whatever the database's locale.

-- One row that orders commits: a commit that changes something locks the row, raises last and takes it as its instant. So
-- instants only grow, no two commits share one, and a reader that sees one sees all before it, in whatever process they
-- were made. writer counts the processes that became the writer: a commit of a former writer changes nothing.
CREATE TABLE clock (
  one    boolean PRIMARY KEY DEFAULT true CHECK (one),
  last   bigint NOT NULL DEFAULT 0,
  writer bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO clock DEFAULT VALUES;

-- A scope is where resources live. account is the name that the configuration gave it last. epoch identifies its current
-- update, which numbers its versions from epoch << 24, so that versions need no counter of their own.
CREATE SEQUENCE epoch;
CREATE TABLE scope (
  scope       bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  partition   text COLLATE "C" NOT NULL,
  account_id  text COLLATE "C" NOT NULL,
  region      text COLLATE "C" NOT NULL,
  kind        text COLLATE "C" NOT NULL,
  account     text COLLATE "C" NOT NULL,
  epoch       bigint NOT NULL,
  extra_tags  jsonb NOT NULL DEFAULT '{}',
  run         text COLLATE "C" NOT NULL DEFAULT '',
  state       text COLLATE "C" NOT NULL DEFAULT '',
  reason      text COLLATE "C" NOT NULL DEFAULT '',
  error       text COLLATE "C" NOT NULL DEFAULT '',
  hint        text COLLATE "C" NOT NULL DEFAULT '',
  expected    boolean NOT NULL DEFAULT false,
  records     bigint NOT NULL DEFAULT 0,
  calls       bigint NOT NULL DEFAULT 0,
  throttles   bigint NOT NULL DEFAULT 0,
  started     bigint,
  ended       bigint,
  last_seen   bigint,
  retired     bigint,
  why         text COLLATE "C",
  UNIQUE (account_id, partition, region, kind)
) WITH (fillfactor = 50); -- its rows are what every run updates, and none of their indexes
CREATE INDEX scope_account ON scope (account, region, kind);

-- A version is a resource from one change to the next. Its body is in another table, so that scans read little. There are
-- no foreign keys: checking each row takes a third of the time of a first load, and "db check" checks all rows at once.
CREATE TABLE version (
  version     bigint PRIMARY KEY,
  scope       bigint NOT NULL,
  id          text COLLATE "C" NOT NULL,
  sum         bytea NOT NULL,
  sum_version integer NOT NULL,
  name        text COLLATE "C" NOT NULL,
  state       text COLLATE "C" NOT NULL,
  type        text COLLATE "C" NOT NULL,
  tags        jsonb NOT NULL,
  run         text COLLATE "C" NOT NULL,
  first_seen  bigint NOT NULL,
  state_since bigint NOT NULL,
  valid_from  bigint NOT NULL,
  valid_to    bigint,
  ended       text COLLATE "C"
);
CREATE UNIQUE INDEX version_live ON version (scope, id) WHERE valid_to IS NULL;
CREATE INDEX version_id ON version (id, scope, valid_from);
CREATE INDEX version_from ON version (valid_from);
CREATE INDEX version_to ON version (valid_to) WHERE valid_to IS NOT NULL;

-- The resource as AWS describes it. exact is its text if jsonb cannot represent it (\u0000, unpaired surrogates); data
-- then has U+FFFD in their place.
CREATE TABLE body (
  version bigint PRIMARY KEY,
  data    jsonb NOT NULL,
  exact   text
);

-- The rows that scope updates have staged, which no reader sees. A row outlives its update only if the process was killed.
CREATE TABLE staged (
  scope   bigint NOT NULL,
  version bigint NOT NULL,
  how     smallint NOT NULL,
  id      text COLLATE "C" NOT NULL,
  sum     bytea NOT NULL,
  name    text COLLATE "C" NOT NULL,
  state   text COLLATE "C" NOT NULL,
  type    text COLLATE "C" NOT NULL,
  tags    jsonb NOT NULL,
  PRIMARY KEY (scope, version)
);

-- lz4 compresses a body in a fifth of the time of the default. Not every build of Postgres has it.
DO $$
BEGIN
  ALTER TABLE body ALTER COLUMN data SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value THEN
  NULL;
END $$;

-- Functions that make the statements of docs/queries.md run as on SQLite.

-- ago('7d') is the instant so long ago, in the format of the views.
CREATE FUNCTION ago(age text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT to_char(statement_timestamp() AT TIME ZONE 'UTC' - age::interval, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- json_each(data, '$.A.B') returns a row for each element of the list, or each member of the object, at the path.
CREATE FUNCTION json_each(document jsonb, path text, OUT key text, OUT value jsonb) RETURNS SETOF record LANGUAGE sql IMMUTABLE AS $$
  WITH found AS (SELECT document #> string_to_array(substr(path, 3), '.') AS v)
  SELECT (e.n - 1)::text, e.v FROM found, jsonb_array_elements(CASE jsonb_typeof(found.v) WHEN 'array' THEN found.v ELSE '[]' END) WITH ORDINALITY AS e(v, n)
  UNION ALL
  SELECT m.key, m.value FROM found, jsonb_each(CASE jsonb_typeof(found.v) WHEN 'object' THEN found.v ELSE '{}' END) AS m
$$;

CREATE FUNCTION instant(at bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT to_char(to_timestamp(at / 1e6) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- The documented views: see docs/queries.md. Their columns are a contract.
CREATE VIEW versions AS
SELECT s.kind, v.id, v.name, v.state, v.type, s.account, s.account_id, s.partition, s.region, v.tags, s.extra_tags, v.run,
  instant(v.first_seen) AS first_seen, instant(v.state_since) AS state_since,
  instant(v.valid_from) AS valid_from, instant(v.valid_to) AS valid_to,
  v.ended, instant(s.last_seen) AS last_seen,
  (SELECT b.data FROM body b WHERE b.version = v.version) AS data
FROM version v JOIN scope s ON s.scope = v.scope;

CREATE VIEW resources AS
SELECT s.kind, v.id, v.name, v.state, v.type, s.account, s.account_id, s.partition, s.region, v.tags, s.extra_tags, v.run,
  instant(v.first_seen) AS first_seen, instant(v.state_since) AS state_since,
  instant(v.valid_from) AS valid_from, instant(s.last_seen) AS last_seen,
  (SELECT b.data FROM body b WHERE b.version = v.version) AS data
FROM version v JOIN scope s ON s.scope = v.scope WHERE v.valid_to IS NULL;

CREATE VIEW targets AS
SELECT s.account, s.account_id, s.partition, s.region, s.kind, s.state, s.reason, s.error, s.hint, s.records, s.run,
  instant(s.started) AS started, instant(s.ended) AS ended, instant(s.last_seen) AS last_seen,
  instant(s.retired) AS retired, s.why
FROM scope s;
