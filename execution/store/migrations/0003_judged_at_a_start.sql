-- How often the process has ended while the job was judged at a start, one after the other.
ALTER TABLE jobs ADD COLUMN judgings INTEGER NOT NULL DEFAULT 0;
