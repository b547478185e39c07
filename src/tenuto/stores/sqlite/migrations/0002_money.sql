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
    PRIMARY KEY (scope, period)
) STRICT, WITHOUT ROWID;

CREATE TABLE tenuto_pace (
    key TEXT PRIMARY KEY,
    pace TEXT NOT NULL                  -- JSON: stores.books.Pace
) STRICT, WITHOUT ROWID;
