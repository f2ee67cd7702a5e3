-- The index of the search has an entry for each pack and not for each version: half as much to write, and a page in the
-- order of keys needs to look at few entries. An entry says which trigrams the texts of a pack have together; the texts
-- (inventory.SearchText, one for each line of the pack) say which versions have what is searched.
DROP TRIGGER version_deleted;
DROP TRIGGER version_replaced;
DROP TABLE search;

CREATE TABLE search_text (
  pack  INTEGER PRIMARY KEY,
  scope INTEGER NOT NULL,
  texts BLOB NOT NULL -- compressed with zstd
);

-- rowid is scope << 32 | pack, so that the entries of a scope are neighbours.
CREATE VIRTUAL TABLE search USING fts5(text, content='', contentless_delete=1, detail=none, tokenize='trigram');

-- Its trigrams: a shorter text is looked up by those that begin with it.
CREATE VIRTUAL TABLE search_trigram USING fts5vocab(search, row);

CREATE TRIGGER body_deleted AFTER DELETE ON body BEGIN
  DELETE FROM search WHERE rowid = (SELECT scope << 32 | pack FROM search_text WHERE pack = OLD.pack);
  DELETE FROM search_text WHERE pack = OLD.pack;
END;

UPDATE search_build SET below = (SELECT coalesce(max(version) + 1, 0) FROM version);

-- Pages read scopes in the order of keys, and the versions of one scope at an instant.
CREATE INDEX scope_place ON scope (kind, account, region, account_id);
CREATE INDEX version_ended ON version (scope, valid_to) WHERE valid_to IS NOT NULL;
