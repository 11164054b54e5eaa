-- Jobs: one row for each run of an id. `number` and `position` have no type, so that whole numbers stay whole.
CREATE TABLE jobs (
    key INTEGER PRIMARY KEY,                -- in the order of arrival
    prompt_id TEXT NOT NULL,
    run INTEGER NOT NULL,
    is_newest INTEGER NOT NULL DEFAULT 1,   -- of the runs of its id
    state TEXT NOT NULL,
    rank INTEGER NOT NULL,                  -- 0 running, 1 pending, 2 ended: how equal ones stand in lists; 3 only owed
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
    notice BLOB,                            -- who wants to hear of its end
    bytes INTEGER NOT NULL,
    UNIQUE (prompt_id, run)
);
CREATE UNIQUE INDEX jobs_open ON jobs (prompt_id) WHERE rank < 2;
-- What is open changes often and is never much: the lists below leave it out. They hold all that is filtered by, that
-- of their own condition too: else SQLite would read a wide row for each job that a page is not about.
CREATE INDEX jobs_by_creation ON jobs
    (created_at, position, state, outcome, workflow_id, client_id, rank, is_newest) WHERE rank = 2 AND is_newest = 1;
CREATE INDEX jobs_by_duration ON jobs
    (duration, position, state, outcome, workflow_id, client_id, rank, is_newest) WHERE rank = 2 AND is_newest = 1;
CREATE INDEX jobs_by_state ON jobs (state, rank, is_newest) WHERE rank = 2 AND is_newest = 1;
CREATE INDEX jobs_in_history ON jobs (position) WHERE has_history = 1;
CREATE INDEX jobs_by_end ON jobs (position, ended_at, bytes) WHERE rank = 2;
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

-- Who has to be told of the end of a job, and who has been. Several may be tried at once, those of other receivers first.
CREATE TABLE deliveries (
    id TEXT NOT NULL UNIQUE,
    job INTEGER NOT NULL UNIQUE REFERENCES jobs (key) ON DELETE CASCADE,
    receiver TEXT NOT NULL,
    state TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    next_try_at INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX deliveries_to_make ON deliveries (receiver, next_try_at) WHERE state = 'pending';

CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;
