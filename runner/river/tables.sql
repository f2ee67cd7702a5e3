-- The last tick of each schedule that became a run or was missed: microseconds since 1970. The lock of a row elects the
-- replica that makes the next tick, and server_time(), a function of the store's tables, says when.
CREATE TABLE tick (
  account text COLLATE "C" NOT NULL,
  spec    text COLLATE "C" NOT NULL,
  last    bigint NOT NULL,
  PRIMARY KEY (account, spec)
);
