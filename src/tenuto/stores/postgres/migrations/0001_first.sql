-- The first layout, in a schema of its own; the schema of the store is put in the place of `tenuto`.
--
-- A task is two rows: what was submitted and never changes (spec), and the narrow row that transitions rewrite (task).
-- What lies around it is kept by its number. Numbers rise and are never used again. The task as it stands is
-- `{fixed,live}`.
--
-- PostgreSQL keeps the old versions of a row until nobody can see them, and its indexes keep entries for them. So:
--  * no row is rewritten by every transaction: the header is appended to, and old ones are removed;
--  * the indexes that transitions touch are few and partial;
--  * tables under churn leave room in their pages and are vacuumed early.
-- Text is compared by its bytes, as everywhere in Tenuto.

CREATE TABLE tenuto.header (
    version bigint PRIMARY KEY,         -- rises by one with each transaction that writes
    mark bigint NOT NULL,               -- random: says whose transaction it was
    number bigint NOT NULL,             -- the last one used, as are the two that follow
    cursor bigint NOT NULL,
    clock bigint NOT NULL,
    changes text                        -- JSON: what others who remember rows have to know; NULL: anything
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);
INSERT INTO tenuto.header (version, mark, number, cursor, clock) VALUES (0, 0, 0, 0, 0);

CREATE TABLE tenuto.past (              -- what is kept of headers that were removed
    first bigint PRIMARY KEY,           -- version
    marks bigint[] NOT NULL,            -- of that version and those that follow
    at bigint NOT NULL                  -- clock of the last one
);

CREATE TABLE tenuto.spec (
    number bigint PRIMARY KEY,
    id text COLLATE "C" NOT NULL,
    goal boolean NOT NULL,
    lane bigint NOT NULL,               -- lane: agent, band, owner
    root bigint,                        -- number of its root; NULL: it is one
    parent bigint,                      -- number of its parent
    unique_key text COLLATE "C",
    fixed text NOT NULL                 -- JSON: what was submitted; members of an object without its braces
);
CREATE UNIQUE INDEX spec_id ON tenuto.spec (id);
CREATE INDEX spec_lane ON tenuto.spec (lane, number);
CREATE INDEX spec_root ON tenuto.spec (root) WHERE root IS NOT NULL;
CREATE INDEX spec_parent ON tenuto.spec (parent) WHERE parent IS NOT NULL;
CREATE INDEX spec_unique ON tenuto.spec (unique_key) WHERE unique_key IS NOT NULL;
CREATE INDEX spec_goal ON tenuto.spec (number) WHERE goal;

CREATE TABLE tenuto.task (
    number bigint PRIMARY KEY,
    lane bigint NOT NULL,
    state smallint NOT NULL,            -- see rows/layout.py: 0 claimable, 1 held back, 5 running, from 6 on final
    tops boolean NOT NULL,              -- it is a root
    rank bigint NOT NULL,               -- minus the priority
    due bigint,                         -- when time alone changes it
    finished bigint,                    -- when it reached its final state
    parked text COLLATE "C",            -- limit key, 0x1F, agent: READY behind that limit
    result text,                        -- JSON, once it is done
    live text NOT NULL                  -- JSON: whatever else transitions change; members without braces
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.1
);
-- Running tasks are not in the first one: they are found by their leases, and come and go with every claim.
CREATE INDEX task_idle ON tenuto.task (state, lane, rank, number) WHERE state < 5;
CREATE INDEX task_due ON tenuto.task (due, number) WHERE due IS NOT NULL;
CREATE INDEX task_root_ended ON tenuto.task (state, finished, number) WHERE state >= 6 AND tops;
CREATE INDEX task_ended ON tenuto.task (state, number) WHERE state >= 6 AND NOT tops;
CREATE INDEX task_parked ON tenuto.task (parked, rank, number) WHERE parked IS NOT NULL;

CREATE TABLE tenuto.tag (
    tag text COLLATE "C" NOT NULL,
    task bigint NOT NULL,
    PRIMARY KEY (tag, task)
);
CREATE INDEX tag_task ON tenuto.tag (task);

CREATE TABLE tenuto.event (
    cursor bigint PRIMARY KEY,
    task bigint NOT NULL,
    tree bigint,                        -- number of the task's root, unless it is one
    seq bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    attempt bigint NOT NULL,
    data text                           -- JSON; NULL: {}
);
CREATE INDEX event_task ON tenuto.event (task, cursor);
CREATE INDEX event_tree ON tenuto.event (tree, cursor) WHERE tree IS NOT NULL;

CREATE TABLE tenuto.key (
    owner text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    task text COLLATE "C" NOT NULL,     -- id: it may have been purged
    at bigint NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX key_at ON tenuto.key (at);

CREATE TABLE tenuto.link (
    number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    goal text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    fires text COLLATE "C" NOT NULL     -- tasks.goal.When
);
CREATE INDEX link_goal ON tenuto.link (goal, number);
CREATE INDEX link_source ON tenuto.link (source, number);
CREATE INDEX link_target ON tenuto.link (target, number);

CREATE TABLE tenuto.wait (
    topic text COLLATE "C" NOT NULL,
    task bigint NOT NULL,
    PRIMARY KEY (topic, task)
);
CREATE INDEX wait_task ON tenuto.wait (task);

CREATE TABLE tenuto.message (
    task bigint NOT NULL,
    number bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    topic text COLLATE "C" NOT NULL,
    data text NOT NULL,                 -- JSON; null once it was taken
    at bigint NOT NULL,
    key text COLLATE "C",
    taken boolean NOT NULL DEFAULT false,
    PRIMARY KEY (task, number)
);
CREATE INDEX message_inbox ON tenuto.message (task, number) WHERE NOT taken;
CREATE UNIQUE INDEX message_key ON tenuto.message (task, key) WHERE key IS NOT NULL;

CREATE TABLE tenuto.step (
    task bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    place bigint NOT NULL,              -- the order in which they were first recorded
    value text,                         -- JSON
    step text NOT NULL,                 -- JSON: the rest
    PRIMARY KEY (task, key)
);
CREATE INDEX step_place ON tenuto.step (task, place);

CREATE TABLE tenuto.blob (
    root text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (root, key)
);

CREATE TABLE tenuto.lane (
    lane bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    agent text COLLATE "C" NOT NULL,
    band bigint NOT NULL,
    owner text COLLATE "C" NOT NULL,
    tag double precision NOT NULL DEFAULT 0.0,
    open boolean NOT NULL DEFAULT false -- it may have claimable tasks
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500);
CREATE UNIQUE INDEX lane_name ON tenuto.lane (agent, band, owner);
CREATE INDEX lane_open ON tenuto.lane (agent, band, tag, owner) WHERE open;

CREATE TABLE tenuto.queue (
    agent text COLLATE "C" NOT NULL,
    band bigint NOT NULL,
    virtual double precision NOT NULL,
    PRIMARY KEY (agent, band)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500);

CREATE TABLE tenuto.weight (
    owner text COLLATE "C" PRIMARY KEY,
    weight double precision NOT NULL
);

CREATE TABLE tenuto.allowance (
    key text COLLATE "C" PRIMARY KEY,
    definition text,                    -- JSON; NULL: nobody defined it
    used bigint NOT NULL,
    tat double precision NOT NULL,
    opens bigint
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500);
CREATE INDEX allowance_opens ON tenuto.allowance (opens, key) WHERE opens IS NOT NULL AND definition IS NOT NULL;

CREATE TABLE tenuto.schedule (
    name text COLLATE "C" PRIMARY KEY,
    next_at bigint,                     -- NULL: paused, or never again
    schedule text NOT NULL              -- JSON
);
CREATE INDEX schedule_next ON tenuto.schedule (next_at, name) WHERE next_at IS NOT NULL;

CREATE TABLE tenuto.worker (
    id text COLLATE "C" PRIMARY KEY,
    seen_at bigint NOT NULL,
    worker text NOT NULL                -- JSON
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500);
CREATE INDEX worker_seen ON tenuto.worker (seen_at);

-- What callers submit inside their own transactions. A row appears when, and only when, the caller commits; the next
-- transaction of the store admits it, by the ordinary rule, and removes it.

CREATE TABLE tenuto.arrival (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),     -- whose it is; those below all running ones are looked at once
    trees text NOT NULL,                                -- JSON
    trouble text                                        -- why it cannot be read; it is left for a person to look at
) WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX arrival_xid ON tenuto.arrival (xid, number) WHERE trouble IS NULL;

-- Tasks as they are read: JSON of number, root, whether there are messages, whether anyone waits for its end, whether it
-- waits for topics, the task; and its result.
CREATE VIEW tenuto.whole AS
SELECT
    spec.number, spec.id,
    concat(
        '[[', spec.number, ',', coalesce(spec.root::text, 'null'),
        CASE WHEN EXISTS (SELECT 1 FROM tenuto.message WHERE message.task = spec.number AND NOT taken)
            THEN ',true' ELSE ',false' END,
        CASE WHEN EXISTS (SELECT 1 FROM tenuto.wait WHERE topic = 'task:' || spec.id) THEN ',true' ELSE ',false' END,
        CASE WHEN state = 4 AND EXISTS (SELECT 1 FROM tenuto.wait WHERE wait.task = spec.number)
            THEN ',true,{' ELSE ',false,{' END,
        fixed, ',', live, '}],[', result, ']]'
    ) AS text
FROM tenuto.spec JOIN tenuto.task ON task.number = spec.number;

-- Money, tokens and requests: ledgers of calls, totals by scope, budgets, and the paces of rates (stores/money.py).

CREATE TABLE tenuto.call (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,     -- the order of a ledger
    task bigint NOT NULL,
    attempt bigint NOT NULL,
    call text COLLATE "C" NOT NULL,
    reserved bigint NOT NULL,           -- 1: it may be under way
    entry text NOT NULL                 -- JSON: stores.books.Call
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX call_name ON tenuto.call (task, attempt, call);
CREATE INDEX call_reserved ON tenuto.call (task) WHERE reserved = 1;

-- Few rows that every call rewrites: room on the page, and cleaned often.
CREATE TABLE tenuto.count (
    scope text COLLATE "C" NOT NULL,
    span text COLLATE "C" NOT NULL,     -- a day, a month; empty: all time
    kind text COLLATE "C" NOT NULL,     -- the first part of the scope
    money bigint NOT NULL,
    tokens bigint NOT NULL,
    requests bigint NOT NULL,
    reserved_money bigint NOT NULL,
    reserved_tokens bigint NOT NULL,
    reserved_requests bigint NOT NULL,
    calls bigint NOT NULL,
    PRIMARY KEY (scope, span)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
CREATE INDEX count_kind ON tenuto.count (kind, span, scope);

CREATE TABLE tenuto.budget (
    scope text COLLATE "C" NOT NULL,
    period text COLLATE "C" NOT NULL,   -- empty: for good
    budget text NOT NULL,               -- JSON
    line text NOT NULL DEFAULT '{}',    -- JSON: stores.books.Line
    PRIMARY KEY (scope, period)
);

CREATE TABLE tenuto.pace (
    key text COLLATE "C" PRIMARY KEY,
    pace text NOT NULL                  -- JSON: stores.books.Pace
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500);
