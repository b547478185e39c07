-- Money, tokens and requests: ledgers, totals, budgets, paces.

-- name: books
-- What a record is about to look at: the budgets of the scopes in ?2, the calls of the task ?1 named in ?3 as
-- [[attempt, call], ...], and the paces of the keys in ?4.
SELECT '[[' || ifnull((
    SELECT group_concat('[' || budget || ',' || line || ']')
    FROM tenuto_budget WHERE scope IN (SELECT value FROM json_each(?2))
), '') || '],[' || ifnull((
    SELECT group_concat(entry)
    FROM json_each(?3) AS wanted
    CROSS JOIN tenuto_call ON task = ?1 AND attempt = wanted.value ->> 0 AND call = wanted.value ->> 1
), '') || '],[' || ifnull((
    SELECT group_concat('[' || json_quote(key) || ',' || pace || ']')
    FROM tenuto_pace WHERE key IN (SELECT value FROM json_each(?4))
), '') || ']]';

-- name: counts
-- What was counted under the names in ?1, as [[scope, window], ...].
SELECT json_group_array(json_array(
    scope, window, money, tokens, requests, reserved_money, reserved_tokens, reserved_requests, calls
))
FROM json_each(?1) AS wanted
CROSS JOIN tenuto_count ON scope = wanted.value ->> 0 AND window = wanted.value ->> 1;

-- name: add_counts
-- So much more.
INSERT INTO tenuto_count (
    scope, window, kind, money, tokens, requests, reserved_money, reserved_tokens, reserved_requests, calls
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?), ...
ON CONFLICT (scope, window) DO UPDATE SET
    money = money + excluded.money, tokens = tokens + excluded.tokens, requests = requests + excluded.requests,
    reserved_money = reserved_money + excluded.reserved_money,
    reserved_tokens = reserved_tokens + excluded.reserved_tokens,
    reserved_requests = reserved_requests + excluded.reserved_requests, calls = calls + excluded.calls;

-- name: put_calls
-- Appends to ledgers; a call that is there is replaced in its place.
INSERT INTO tenuto_call (task, attempt, call, reserved, entry) VALUES (?, ?, ?, ?, ?), ...
ON CONFLICT (task, attempt, call) DO UPDATE SET reserved = excluded.reserved, entry = excluded.entry;

-- name: calls
-- A ledger.
SELECT '[' || group_concat(entry) || ']' FROM (SELECT entry FROM tenuto_call WHERE task = ?1 ORDER BY number);

-- name: reserved_calls
-- The calls of a ledger that may be under way.
SELECT '[' || group_concat(entry) || ']' FROM (
    SELECT entry FROM tenuto_call WHERE task = ?1 AND reserved = 1 ORDER BY number
);

-- name: put_budget
-- Creates one, or replaces what it limits.
INSERT INTO tenuto_budget (scope, period, budget) VALUES (?1, ?2, ?3)
ON CONFLICT (scope, period) DO UPDATE SET budget = excluded.budget;

-- name: put_line
-- Who waits for room in one.
UPDATE tenuto_budget SET line = ?3 WHERE scope = ?1 AND period = ?2;

-- name: delete_budget
-- Removes one.
DELETE FROM tenuto_budget WHERE scope = ?1 AND period = ?2;

-- name: budgets
-- Those whose scope begins with ?1.
SELECT '[' || group_concat(budget) || ']' FROM (
    SELECT budget FROM tenuto_budget WHERE substr(scope, 1, length(?1)) = ?1 ORDER BY scope, period LIMIT ?2
);

-- name: put_pace
-- What is known about a rate's key.
INSERT OR REPLACE INTO tenuto_pace (key, pace) VALUES (?1, ?2);

-- name: totals
-- Sums by scope of the kind ?1, of scopes that begin with ?2, over the windows ?3 to ?4.
SELECT json_group_array(json_array(key, money, tokens, requests, spare_money, spare_tokens, spare_requests, calls)) FROM (
    SELECT substr(scope, length(?1) + 2) AS key, sum(money) AS money, sum(tokens) AS tokens, sum(requests) AS requests,
        sum(reserved_money) AS spare_money, sum(reserved_tokens) AS spare_tokens,
        sum(reserved_requests) AS spare_requests, sum(calls) AS calls
    FROM tenuto_count
    WHERE kind = ?1 AND window BETWEEN ?3 AND ?4 AND length(window) = length(?3) AND substr(scope, 1, length(?2)) = ?2
    GROUP BY scope ORDER BY scope LIMIT ?5
);

-- name: totals_by_day
-- Those of the scope ?1 that begin with ?2, from day ?3 to day ?4.
SELECT json_group_array(json_array(
    window, money, tokens, requests, reserved_money, reserved_tokens, reserved_requests, calls
)) FROM (
    SELECT * FROM tenuto_count
    WHERE scope = ?1 AND window BETWEEN ?3 AND ?4 AND length(window) = length(?3) AND substr(window, 1, length(?2)) = ?2
    ORDER BY window LIMIT ?5
);

-- name: purge_calls
-- Of some tasks, given their numbers.
DELETE FROM tenuto_call WHERE task IN (SELECT value FROM json_each(?1));

-- name: purge_counts
-- Of some scopes.
DELETE FROM tenuto_count WHERE scope IN (SELECT value FROM json_each(?1));

-- name: purge_budgets
-- Of some scopes.
DELETE FROM tenuto_budget WHERE scope IN (SELECT value FROM json_each(?1));

-- name: check_calls_miscounted
-- The total of a tree is the sum of its ledgers.
WITH known (root, calls, money) AS (
    SELECT ifnull(top.id, one.id), count(*), sum(ifnull(
        CASE WHEN entry -> 'actual' IS NULL THEN entry -> 'bound' ->> 'money' ELSE entry -> 'actual' ->> 'money' END, 0
    ))
    FROM tenuto_call
    JOIN tenuto_task AS one ON one.number = tenuto_call.task
    LEFT JOIN tenuto_task AS top ON top.number = one.root
    GROUP BY 1
)
SELECT count(*) FROM tenuto_count AS total LEFT JOIN known ON known.root = substr(scope, length('tree:') + 1)
WHERE kind = 'tree' AND (total.calls <> ifnull(known.calls, 0) OR total.money <> ifnull(known.money, 0));
