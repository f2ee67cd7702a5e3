-- The index of the search: the text of a version (inventory.SearchText) under the version's number. It holds no text, and
-- a version that is staged has its entry, too.
CREATE VIRTUAL TABLE search USING fts5(text, content='', contentless_delete=1, tokenize='trigram');

CREATE TRIGGER version_deleted AFTER DELETE ON version BEGIN
  DELETE FROM search WHERE rowid = OLD.version;
END;
CREATE TRIGGER version_replaced AFTER UPDATE OF version ON version BEGIN
  DELETE FROM search WHERE rowid = OLD.version;
END;

-- The versions below this number are not indexed yet. The index is built in the background, the newest version first.
CREATE TABLE search_build (below INTEGER NOT NULL);
INSERT INTO search_build SELECT coalesce(max(version) + 1, 0) FROM version;
