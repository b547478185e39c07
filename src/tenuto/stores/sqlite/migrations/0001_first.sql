-- The first layout. Everything of ours is called tenuto_*, so that a program's own tables can live in the same file.
--
-- A task is three things: a narrow row that every transition rewrites (tenuto_task), what was submitted and never
-- changes (tenuto_spec), and what is kept about it elsewhere by its number. Numbers rise and are never used again.
-- The columns of tenuto_task are what queries look for; the task as it stands is `{fixed,live}`.

CREATE TABLE tenuto_meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- What was used before a purge: neither numbers nor cursors come again, and the clock never goes back.
    number INTEGER NOT NULL DEFAULT 0,
    cursor INTEGER NOT NULL DEFAULT 0,
    clock INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO tenuto_meta (one) VALUES (1);

CREATE TABLE tenuto_task (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    lane INTEGER NOT NULL,      -- tenuto_lane: agent, band, owner
    state INTEGER NOT NULL,     -- see rows/layout.py: 0 claimable, 1 ready but held back, 5 running, from 6 on final
    rank INTEGER NOT NULL,      -- minus the priority
    due INTEGER,                -- when time alone changes it
    goal INTEGER NOT NULL,      -- 1: it is a goal
    root INTEGER,               -- number of its root; NULL: it is one
    parent INTEGER,             -- number of its parent
    parked TEXT,                -- limit key, 0x1F, agent: READY behind that limit
    unique_key TEXT,
    finished INTEGER,           -- when it reached its final state
    result TEXT,                -- JSON, once it is done
    live TEXT NOT NULL          -- JSON: whatever else transitions change; members of an object without its braces
) STRICT;
CREATE UNIQUE INDEX tenuto_task_id ON tenuto_task (id);
-- Running tasks are not in the first one: they are found by their leases, and come and go with every claim.
CREATE INDEX tenuto_task_idle ON tenuto_task (state, lane, rank, number) WHERE state < 5;
CREATE INDEX tenuto_task_due ON tenuto_task (due) WHERE due IS NOT NULL;
CREATE INDEX tenuto_task_root_ended ON tenuto_task (state, finished) WHERE state >= 6 AND root IS NULL;
CREATE INDEX tenuto_task_ended ON tenuto_task (state) WHERE state >= 6 AND root IS NOT NULL;
CREATE INDEX tenuto_task_root ON tenuto_task (root) WHERE root IS NOT NULL;
CREATE INDEX tenuto_task_parent ON tenuto_task (parent) WHERE parent IS NOT NULL;
CREATE INDEX tenuto_task_parked ON tenuto_task (parked, rank, number) WHERE parked IS NOT NULL;
CREATE INDEX tenuto_task_goal ON tenuto_task (goal, state) WHERE goal = 1;
CREATE INDEX tenuto_task_unique ON tenuto_task (unique_key, state) WHERE unique_key IS NOT NULL;

CREATE TABLE tenuto_spec (
    number INTEGER PRIMARY KEY,
    fixed TEXT NOT NULL         -- JSON: what was submitted; members of an object without its braces
) STRICT;

CREATE TABLE tenuto_tag (
    tag TEXT NOT NULL,
    task INTEGER NOT NULL,
    PRIMARY KEY (tag, task)
) STRICT, WITHOUT ROWID;
CREATE INDEX tenuto_tag_task ON tenuto_tag (task);

CREATE TABLE tenuto_event (
    cursor INTEGER PRIMARY KEY,
    task INTEGER NOT NULL,
    tree INTEGER,               -- number of the task's root, unless it is one
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    data TEXT                   -- JSON; NULL: {}
) STRICT;
CREATE INDEX tenuto_event_task ON tenuto_event (task);
CREATE INDEX tenuto_event_tree ON tenuto_event (tree) WHERE tree IS NOT NULL;

CREATE TABLE tenuto_key (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    task TEXT NOT NULL,         -- id: it may have been purged
    at INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX tenuto_key_at ON tenuto_key (at);

CREATE TABLE tenuto_link (
    number INTEGER PRIMARY KEY,
    goal TEXT NOT NULL,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    fires TEXT NOT NULL         -- tasks.goal.When
) STRICT;
CREATE INDEX tenuto_link_goal ON tenuto_link (goal);
CREATE INDEX tenuto_link_source ON tenuto_link (source);
CREATE INDEX tenuto_link_target ON tenuto_link (target);

CREATE TABLE tenuto_wait (
    topic TEXT NOT NULL,
    task INTEGER NOT NULL,
    PRIMARY KEY (topic, task)
) STRICT, WITHOUT ROWID;
CREATE INDEX tenuto_wait_task ON tenuto_wait (task);

CREATE TABLE tenuto_message (
    task INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    topic TEXT NOT NULL,
    data TEXT NOT NULL,         -- JSON; null once it was taken
    at INTEGER NOT NULL,
    key TEXT,
    taken INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX tenuto_message_inbox ON tenuto_message (task) WHERE taken = 0;
CREATE UNIQUE INDEX tenuto_message_key ON tenuto_message (task, key) WHERE key IS NOT NULL;

CREATE TABLE tenuto_step (
    task INTEGER NOT NULL,
    key TEXT NOT NULL,
    place INTEGER NOT NULL,     -- the order in which they were first recorded
    value TEXT,                 -- JSON
    step TEXT NOT NULL,         -- JSON: the rest
    PRIMARY KEY (task, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX tenuto_step_place ON tenuto_step (task, place);

CREATE TABLE tenuto_blob (
    root TEXT NOT NULL,
    key TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (root, key)
) STRICT;

CREATE TABLE tenuto_lane (
    lane INTEGER PRIMARY KEY,
    agent TEXT NOT NULL,
    band INTEGER NOT NULL,
    owner TEXT NOT NULL,
    tag REAL NOT NULL DEFAULT 0.0,
    open INTEGER NOT NULL DEFAULT 0     -- 1: it may have claimable tasks
) STRICT;
CREATE UNIQUE INDEX tenuto_lane_name ON tenuto_lane (agent, band, owner);
CREATE INDEX tenuto_lane_open ON tenuto_lane (agent, band, tag, owner) WHERE open = 1;

CREATE TABLE tenuto_queue (
    agent TEXT NOT NULL,
    band INTEGER NOT NULL,
    virtual REAL NOT NULL,
    PRIMARY KEY (agent, band)
) STRICT, WITHOUT ROWID;

CREATE TABLE tenuto_weight (
    owner TEXT PRIMARY KEY,
    weight REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tenuto_limit (
    key TEXT PRIMARY KEY,
    definition TEXT,            -- JSON; NULL: nobody defined it
    used INTEGER NOT NULL,
    tat REAL NOT NULL,
    opens INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tenuto_limit_opens ON tenuto_limit (opens, key) WHERE opens IS NOT NULL AND definition IS NOT NULL;

CREATE TABLE tenuto_schedule (
    name TEXT PRIMARY KEY,
    next_at INTEGER,            -- NULL: paused, or never again
    schedule TEXT NOT NULL      -- JSON
) STRICT, WITHOUT ROWID;
CREATE INDEX tenuto_schedule_next ON tenuto_schedule (next_at, name) WHERE next_at IS NOT NULL;

CREATE TABLE tenuto_worker (
    id TEXT PRIMARY KEY,
    seen_at INTEGER NOT NULL,
    worker TEXT NOT NULL        -- JSON
) STRICT, WITHOUT ROWID;
CREATE INDEX tenuto_worker_seen ON tenuto_worker (seen_at);

-- Money, tokens and requests: ledgers of calls, totals by scope, budgets, and the paces of rates (stores/money.py).

CREATE TABLE tenuto_call (
    number INTEGER PRIMARY KEY,         -- the order of a ledger
    task INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    call TEXT NOT NULL,
    reserved INTEGER NOT NULL,          -- 1: it may be under way
    entry TEXT NOT NULL                 -- JSON: stores.books.Call
) STRICT;
CREATE UNIQUE INDEX tenuto_call_name ON tenuto_call (task, attempt, call);
CREATE INDEX tenuto_call_reserved ON tenuto_call (task) WHERE reserved = 1;

CREATE TABLE tenuto_count (
    scope TEXT NOT NULL,
    window TEXT NOT NULL,               -- a day, a month; empty: all time
    kind TEXT NOT NULL,                 -- the first part of the scope
    money INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    reserved_money INTEGER NOT NULL,
    reserved_tokens INTEGER NOT NULL,
    reserved_requests INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (scope, window)
) STRICT, WITHOUT ROWID;
CREATE INDEX tenuto_count_kind ON tenuto_count (kind, window, scope);

CREATE TABLE tenuto_budget (
    scope TEXT NOT NULL,
    period TEXT NOT NULL,               -- empty: for good
    budget TEXT NOT NULL,               -- JSON
    line TEXT NOT NULL DEFAULT '{}',    -- JSON: stores.books.Line
    PRIMARY KEY (scope, period)
) STRICT, WITHOUT ROWID;

CREATE TABLE tenuto_pace (
    key TEXT PRIMARY KEY,
    pace TEXT NOT NULL                  -- JSON: stores.books.Pace
) STRICT, WITHOUT ROWID;
