-- Whether an open job was ever started: whoever was told so waits for its end.
ALTER TABLE jobs ADD COLUMN was_started INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET was_started = 1 WHERE rank < 2 AND EXISTS (
    SELECT 1 FROM events WHERE events.prompt_id = jobs.prompt_id AND kind = 'PromptStarted');
