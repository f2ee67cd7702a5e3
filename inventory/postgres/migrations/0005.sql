-- When a complete listing first did not find a live resource whose end waits for the next complete one (max_gone). NULL:
-- it does not wait.
ALTER TABLE version ADD COLUMN missing_since bigint;
