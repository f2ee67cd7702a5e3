-- The texts that a search looks through (inventory.SearchText), by version; also of versions that are staged.
CREATE TABLE search (
  version bigint PRIMARY KEY,
  text    text COLLATE "C" NOT NULL
);

-- With the extension pg_trgm, a search uses an index. Where the role must not create the extension, or the server does not
-- have it, a search reads all texts.
DO $$
DECLARE
  place text;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') THEN
    CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;
  END IF;
  SELECT nspname INTO place FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'pg_trgm';
  EXECUTE format('CREATE INDEX search_text ON search USING gin (text %I.gin_trgm_ops)', place);
EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported OR invalid_schema_name OR undefined_object
    OR unique_violation OR duplicate_object THEN
  NULL;
END $$;

-- The versions below this number are not indexed yet. The index is built in the background, the newest version first.
CREATE TABLE search_build (below bigint NOT NULL);
INSERT INTO search_build SELECT coalesce(max(version) + 1, 0) FROM version;
