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
    PRIMARY KEY (scope, period)
);

CREATE TABLE tenuto.pace (
    key text COLLATE "C" PRIMARY KEY,
    pace text NOT NULL                  -- JSON: stores.books.Pace
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500);
