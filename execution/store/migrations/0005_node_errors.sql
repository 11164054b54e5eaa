-- What was wrong with outputs of an accepted prompt that are left out, as its client was told; nothing if all was well.
ALTER TABLE jobs ADD COLUMN node_errors BLOB;
