-- Instants without a row that all commits lock. Package postgres describes the protocol (instant.go).

-- writer is the number of the writers: a writer alone, a migration and the first of several that share raise it, and a
-- commit of a former number changes nothing. shared is the number that several processes have; -1: none.
-- last is a floor: an instant that is taken from now on is later. Commits only read it. number is the commit_number when
-- last was raised. horizon is published: every commit up to it is visible, and none will be added. An older program, which
-- takes its instants by locking this row, raises writer and leaves published: then last is the horizon.
ALTER TABLE clock ADD COLUMN shared bigint NOT NULL DEFAULT -1;
ALTER TABLE clock ADD COLUMN number bigint NOT NULL DEFAULT 0;
ALTER TABLE clock ADD COLUMN horizon bigint NOT NULL DEFAULT 0;
ALTER TABLE clock ADD COLUMN published bigint NOT NULL DEFAULT -1;
UPDATE clock SET horizon = last;

-- The scope's last commit was at this instant or before. ended and retired do not tell: a scope that is begun again is
-- not retired.
ALTER TABLE scope ADD COLUMN last bigint NOT NULL DEFAULT 0;
UPDATE scope SET last = (SELECT last FROM clock);

CREATE SEQUENCE commit_number;
SELECT nextval('commit_number'); -- so that last_value always is a number that was drawn

-- The server's clock, in microseconds since 1970. A function, so that a test can set it back.
CREATE FUNCTION server_time() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint
$$;

-- take_instant takes the instant of the transaction's commit, later than after. tag is of the schema's locks. The lock
-- comes first, then what is read: each statement of the function sees what was committed when it began. The number comes
-- last: an instant whose number was drawn when the floor is raised is not after the floor.
CREATE FUNCTION take_instant(tag bigint, after bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  earliest bigint := server_time();
  floor    clock;
  n        bigint;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(tag << 40 | earliest / 100000);
  SELECT * INTO STRICT floor FROM clock;
  earliest := greatest(earliest, server_time(), after + 1);
  n := nextval('commit_number');
  earliest := greatest(earliest, floor.last + greatest(n - floor.number, 1));
  RETURN earliest + ((n - earliest) & 255);
END
$$;
