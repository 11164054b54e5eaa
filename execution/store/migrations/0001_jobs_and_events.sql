-- Jobs: one row for each run of an id. `number` and `position` have no type, so that whole numbers stay whole.
CREATE TABLE jobs (
    key INTEGER PRIMARY KEY,                -- in the order of arrival
    prompt_id TEXT NOT NULL,
    run INTEGER NOT NULL,
    is_newest INTEGER NOT NULL DEFAULT 1,   -- of the runs of its id
    state TEXT NOT NULL,
    rank INTEGER NOT NULL,                  -- 0 running, 1 pending, 2 ended: how equal ones stand in lists
    position,                               -- among those of its rank: start, number, end
    outcome TEXT,
    has_history INTEGER NOT NULL DEFAULT 0,
    client_id TEXT,
    number NOT NULL,
    line TEXT,
    attempt INTEGER NOT NULL DEFAULT 0,
    is_cancelled INTEGER NOT NULL DEFAULT 0,
    retry_of TEXT,
    workflow_id TEXT,
    created_at INTEGER NOT NULL DEFAULT 0,
    duration INTEGER NOT NULL DEFAULT 0,
    queued_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL DEFAULT 0,
    ended_at INTEGER NOT NULL DEFAULT 0,
    content_key TEXT,
    idempotency_key TEXT,
    had_secrets INTEGER NOT NULL DEFAULT 0,
    targets BLOB,
    rules BLOB NOT NULL,
    outputs_wanted BLOB NOT NULL,
    extra_data BLOB NOT NULL,
    submitted BLOB NOT NULL,                -- the prompt as it came
    prompt BLOB,                            -- as it is shown once it has ended, if that differs
    details BLOB,                           -- what happened, once it has ended
    bytes INTEGER NOT NULL,
    UNIQUE (prompt_id, run)
);
CREATE INDEX jobs_open ON jobs (rank) WHERE rank < 2;
CREATE INDEX jobs_by_creation ON jobs (is_newest, created_at, state);
CREATE INDEX jobs_by_duration ON jobs (is_newest, duration, state);
CREATE INDEX jobs_by_state ON jobs (is_newest, state);
CREATE INDEX jobs_by_workflow ON jobs (workflow_id, is_newest, created_at) WHERE workflow_id IS NOT NULL;
CREATE INDEX jobs_by_end ON jobs (rank, position, bytes);
CREATE UNIQUE INDEX jobs_by_idempotency_key ON jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;

-- The log of events, for those who missed some.
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    prompt_id TEXT,
    client_id TEXT,
    kind TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX events_by_prompt ON events (prompt_id, sequence);

CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;
