SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
CREATE SCHEMA SCHEMA;
CREATE FUNCTION SCHEMA.ago(age text) RETURNS text
    LANGUAGE sql STABLE
    AS $$
  SELECT to_char(statement_timestamp() AT TIME ZONE 'UTC' - age::interval, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;
CREATE FUNCTION SCHEMA.instant(at bigint) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$
  SELECT to_char(to_timestamp(at / 1e6) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;
CREATE FUNCTION SCHEMA.json_each(document jsonb, path text, OUT key text, OUT value jsonb) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE
    AS $$
  WITH found AS (SELECT document #> string_to_array(substr(path, 3), '.') AS v)
  SELECT (e.n - 1)::text, e.v FROM found, jsonb_array_elements(CASE jsonb_typeof(found.v) WHEN 'array' THEN found.v ELSE '[]' END) WITH ORDINALITY AS e(v, n)
  UNION ALL
  SELECT m.key, m.value FROM found, jsonb_each(CASE jsonb_typeof(found.v) WHEN 'object' THEN found.v ELSE '{}' END) AS m
$$;
CREATE TABLE SCHEMA.body (
    version bigint NOT NULL,
    data jsonb NOT NULL,
    exact text
);
CREATE TABLE SCHEMA.clock (
    one boolean DEFAULT true NOT NULL,
    last bigint DEFAULT 0 NOT NULL,
    writer bigint DEFAULT 0 NOT NULL,
    CONSTRAINT clock_one_check CHECK (one)
)
WITH (fillfactor='10');
CREATE SEQUENCE SCHEMA.epoch
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE SCHEMA.scope (
    scope bigint NOT NULL,
    partition text NOT NULL COLLATE pg_catalog."C",
    account_id text NOT NULL COLLATE pg_catalog."C",
    region text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    account text NOT NULL COLLATE pg_catalog."C",
    epoch bigint NOT NULL,
    extra_tags jsonb DEFAULT '{}'::jsonb NOT NULL,
    run text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    state text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    reason text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    error text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    hint text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    expected boolean DEFAULT false NOT NULL,
    records bigint DEFAULT 0 NOT NULL,
    calls bigint DEFAULT 0 NOT NULL,
    throttles bigint DEFAULT 0 NOT NULL,
    started bigint,
    ended bigint,
    last_seen bigint,
    retired bigint,
    why text COLLATE pg_catalog."C",
    first_complete bigint
)
WITH (fillfactor='50');
CREATE TABLE SCHEMA.version (
    version bigint NOT NULL,
    scope bigint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    sum bytea NOT NULL,
    sum_version integer NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL COLLATE pg_catalog."C",
    type text NOT NULL COLLATE pg_catalog."C",
    tags jsonb NOT NULL,
    run text NOT NULL COLLATE pg_catalog."C",
    first_seen bigint NOT NULL,
    state_since bigint NOT NULL,
    valid_from bigint NOT NULL,
    valid_to bigint,
    ended text COLLATE pg_catalog."C"
);
CREATE VIEW SCHEMA.resources AS
 SELECT s.kind,
    v.id,
    v.name,
    v.state,
    v.type,
    s.account,
    s.account_id,
    s.partition,
    s.region,
    v.tags,
    s.extra_tags,
    v.run,
    SCHEMA.instant(v.first_seen) AS first_seen,
    SCHEMA.instant(v.state_since) AS state_since,
    SCHEMA.instant(v.valid_from) AS valid_from,
    SCHEMA.instant(s.last_seen) AS last_seen,
    ( SELECT b.data
           FROM SCHEMA.body b
          WHERE (b.version = v.version)) AS data
   FROM (SCHEMA.version v
     JOIN SCHEMA.scope s ON ((s.scope = v.scope)))
  WHERE (v.valid_to IS NULL);
ALTER TABLE SCHEMA.scope ALTER COLUMN scope ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME SCHEMA.scope_scope_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE SCHEMA.staged (
    scope bigint NOT NULL,
    version bigint NOT NULL,
    how smallint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    sum bytea NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL COLLATE pg_catalog."C",
    type text NOT NULL COLLATE pg_catalog."C",
    tags jsonb NOT NULL
);
CREATE TABLE SCHEMA.store (
    application text NOT NULL,
    version integer NOT NULL,
    history text DEFAULT (gen_random_uuid())::text NOT NULL COLLATE pg_catalog."C"
);
CREATE VIEW SCHEMA.targets AS
 SELECT s.account,
    s.account_id,
    s.partition,
    s.region,
    s.kind,
    s.state,
    s.reason,
    s.error,
    s.hint,
    s.records,
    s.run,
    SCHEMA.instant(s.started) AS started,
    SCHEMA.instant(s.ended) AS ended,
    SCHEMA.instant(s.last_seen) AS last_seen,
    SCHEMA.instant(s.retired) AS retired,
    s.why
   FROM SCHEMA.scope s;
CREATE VIEW SCHEMA.versions AS
 SELECT s.kind,
    v.id,
    v.name,
    v.state,
    v.type,
    s.account,
    s.account_id,
    s.partition,
    s.region,
    v.tags,
    s.extra_tags,
    v.run,
    SCHEMA.instant(v.first_seen) AS first_seen,
    SCHEMA.instant(v.state_since) AS state_since,
    SCHEMA.instant(v.valid_from) AS valid_from,
    SCHEMA.instant(v.valid_to) AS valid_to,
    v.ended,
    SCHEMA.instant(s.last_seen) AS last_seen,
    ( SELECT b.data
           FROM SCHEMA.body b
          WHERE (b.version = v.version)) AS data
   FROM (SCHEMA.version v
     JOIN SCHEMA.scope s ON ((s.scope = v.scope)));
INSERT INTO SCHEMA.body VALUES (16777216, '{"Pad": "", "Tags": [{"Key": "Name", "Value": "web"}], "State": {"Code": 16, "Name": "running"}, "Checked": "", "InstanceId": "i-1", "InstanceType": "t3.micro"}', NULL);
INSERT INTO SCHEMA.body VALUES (16777217, '{"Pad": "", "Tags": [], "State": {"Code": 16, "Name": "running"}, "Checked": "", "InstanceId": "i-2", "InstanceType": ""}', NULL);
INSERT INTO SCHEMA.body VALUES (33554432, '{"Pad": "", "Tags": [{"Key": "Name", "Value": "web"}], "State": {"Code": 16, "Name": "stopped"}, "Checked": "", "InstanceId": "i-1", "InstanceType": "t3.micro"}', NULL);
INSERT INTO SCHEMA.clock VALUES (true, 1796014395980513, 1);
INSERT INTO SCHEMA.scope OVERRIDING SYSTEM VALUE VALUES (1, 'aws', '222222222222', 'us-east-1', 'ec2_instance', 'prod', 2, '{"team": "platform"}', 'run-2', 'ok', '', '', '', false, 0, 0, 0, 1796014395972040, 1796014395980513, 1796014395980513, NULL, NULL, 1796014395944112);
INSERT INTO SCHEMA.store VALUES ('aws-collector', 2, '38c4ee68-32a4-42e6-b0b3-01b897d1e317');
INSERT INTO SCHEMA.version VALUES (16777216, 1, 'i-1', '\x68d64d8bfcf0c549bbd0bf19b4da20dd', 1, 'web', 'running', 't3.micro', '{"Name": "web"}', 'run-1', 1796014395944112, 1796014395944112, 1796014395944112, 1796014395980513, NULL);
INSERT INTO SCHEMA.version VALUES (33554432, 1, 'i-1', '\xfdb88371a6dcb0cfc4eed4098046b3cd', 1, 'web', 'stopped', 't3.micro', '{"Name": "web"}', 'run-2', 1796014395944112, 1796014395980513, 1796014395980513, NULL, NULL);
INSERT INTO SCHEMA.version VALUES (16777217, 1, 'i-2', '\xf53647fc8e9a6a320ea747e51ccf2447', 1, '', 'running', '', '{}', 'run-1', 1796014395944112, 1796014395944112, 1796014395944112, 1796014395980513, 'absent');
SELECT pg_catalog.setval('SCHEMA.epoch', 2, true);
SELECT pg_catalog.setval('SCHEMA.scope_scope_seq', 2, true);
ALTER TABLE ONLY SCHEMA.body
    ADD CONSTRAINT body_pkey PRIMARY KEY (version);
ALTER TABLE ONLY SCHEMA.clock
    ADD CONSTRAINT clock_pkey PRIMARY KEY (one);
ALTER TABLE ONLY SCHEMA.scope
    ADD CONSTRAINT scope_account_id_partition_region_kind_key UNIQUE (account_id, partition, region, kind);
ALTER TABLE ONLY SCHEMA.scope
    ADD CONSTRAINT scope_pkey PRIMARY KEY (scope);
ALTER TABLE ONLY SCHEMA.staged
    ADD CONSTRAINT staged_pkey PRIMARY KEY (scope, version);
ALTER TABLE ONLY SCHEMA.store
    ADD CONSTRAINT store_pkey PRIMARY KEY (application);
ALTER TABLE ONLY SCHEMA.version
    ADD CONSTRAINT version_pkey PRIMARY KEY (version);
CREATE INDEX scope_account ON SCHEMA.scope USING btree (account, region, kind);
CREATE INDEX version_from ON SCHEMA.version USING btree (valid_from);
CREATE INDEX version_id ON SCHEMA.version USING btree (id, scope, valid_from);
CREATE UNIQUE INDEX version_live ON SCHEMA.version USING btree (scope, id) WHERE (valid_to IS NULL);
CREATE INDEX version_to ON SCHEMA.version USING btree (valid_to) WHERE (valid_to IS NOT NULL);
