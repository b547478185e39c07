-- Money, tokens and requests: ledgers, totals, budgets, paces.

-- name: books
-- What a record is about to look at: the budgets of the scopes in $2, the calls of the task $1 named in $3 as
-- [[attempt, call], ...], and the paces of the keys in $4.
SELECT '[[' || coalesce((
    SELECT string_agg('[' || budget || ',' || line || ']', ',')
    FROM tenuto.budget WHERE scope = ANY (ARRAY(SELECT json_array_elements_text($2::json)))
), '') || '],[' || coalesce((
    SELECT string_agg(entry, ',')
    FROM json_array_elements($3::json) AS wanted
    JOIN tenuto.call ON task = $1::bigint AND attempt = (wanted ->> 0)::bigint AND call = wanted ->> 1
), '') || '],[' || coalesce((
    SELECT string_agg('[' || to_json(key) || ',' || pace || ']', ',')
    FROM tenuto.pace WHERE key = ANY (ARRAY(SELECT json_array_elements_text($4::json)))
), '') || ']]';

-- name: counts
-- What was counted under the names in $1, as [[scope, window], ...].
SELECT coalesce(json_agg(json_build_array(
    scope, span, money, tokens, requests, reserved_money, reserved_tokens, reserved_requests, calls
)), '[]')::text
FROM json_array_elements($1::json) AS wanted
JOIN tenuto.count ON scope = wanted ->> 0 AND span = wanted ->> 1;

-- name: add_counts
-- So much more.
INSERT INTO tenuto.count AS known (
    scope, span, kind, money, tokens, requests, reserved_money, reserved_tokens, reserved_requests, calls
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
    $9::bigint[], $10::bigint[]
)
ON CONFLICT (scope, span) DO UPDATE SET
    money = known.money + excluded.money, tokens = known.tokens + excluded.tokens,
    requests = known.requests + excluded.requests,
    reserved_money = known.reserved_money + excluded.reserved_money,
    reserved_tokens = known.reserved_tokens + excluded.reserved_tokens,
    reserved_requests = known.reserved_requests + excluded.reserved_requests, calls = known.calls + excluded.calls;

-- name: put_calls
-- Appends to ledgers; a call that is there is replaced in its place.
INSERT INTO tenuto.call (task, attempt, call, reserved, entry)
SELECT task, attempt, call, reserved, entry
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[])
    WITH ORDINALITY AS new (task, attempt, call, reserved, entry, place)
ORDER BY place
ON CONFLICT (task, attempt, call) DO UPDATE SET reserved = excluded.reserved, entry = excluded.entry;

-- name: calls
-- A ledger.
SELECT '[' || string_agg(entry, ',' ORDER BY number) || ']' FROM tenuto.call WHERE task = $1::bigint;

-- name: reserved_calls
-- The calls of a ledger that may be under way.
SELECT '[' || string_agg(entry, ',' ORDER BY number) || ']'
FROM tenuto.call WHERE task = $1::bigint AND reserved = 1;

-- name: put_budget
-- Creates one, or replaces what it limits.
INSERT INTO tenuto.budget (scope, period, budget) VALUES ($1::text, $2::text, $3::text)
ON CONFLICT (scope, period) DO UPDATE SET budget = excluded.budget;

-- name: put_line
-- Who waits for room in one.
UPDATE tenuto.budget SET line = $3::text WHERE scope = $1::text AND period = $2::text;

-- name: delete_budget
-- Removes one.
DELETE FROM tenuto.budget WHERE scope = $1::text AND period = $2::text;

-- name: budgets
-- Those whose scope begins with $1.
SELECT '[' || string_agg(budget, ',' ORDER BY scope, period) || ']' FROM (
    SELECT * FROM tenuto.budget WHERE starts_with(scope, $1::text) ORDER BY scope, period LIMIT $2::bigint
) AS found;

-- name: put_pace
-- What is known about a rate's key.
INSERT INTO tenuto.pace (key, pace) VALUES ($1::text, $2::text)
ON CONFLICT (key) DO UPDATE SET pace = excluded.pace;

-- name: totals
-- Sums by scope of the kind $1, of scopes that begin with $2, over the windows $3 to $4.
SELECT coalesce(json_agg(json_build_array(
    substr(scope, length($1::text) + 2), money, tokens, requests, spare_money, spare_tokens, spare_requests, calls
)), '[]')::text FROM (
    SELECT scope, sum(money) AS money, sum(tokens) AS tokens, sum(requests) AS requests,
        sum(reserved_money) AS spare_money, sum(reserved_tokens) AS spare_tokens,
        sum(reserved_requests) AS spare_requests, sum(calls) AS calls
    FROM tenuto.count
    WHERE kind = $1::text AND span BETWEEN $3::text AND $4::text AND length(span) = length($3::text)
        AND starts_with(scope, $2::text)
    GROUP BY scope ORDER BY scope LIMIT $5::bigint
) AS found;

-- name: totals_by_day
-- Those of the scope $1 that begin with $2, from day $3 to day $4.
SELECT coalesce(json_agg(json_build_array(
    span, money, tokens, requests, reserved_money, reserved_tokens, reserved_requests, calls
)), '[]')::text FROM (
    SELECT * FROM tenuto.count
    WHERE scope = $1::text AND span BETWEEN $3::text AND $4::text AND length(span) = length($3::text)
        AND starts_with(span, $2::text)
    ORDER BY span LIMIT $5::bigint
) AS found;

-- name: purge_calls
-- Of some tasks, given their numbers.
DELETE FROM tenuto.call WHERE task = ANY (ARRAY(SELECT json_array_elements_text($1::json)::bigint));

-- name: purge_counts
-- Of some scopes.
DELETE FROM tenuto.count WHERE scope = ANY (ARRAY(SELECT json_array_elements_text($1::json)));

-- name: purge_budgets
-- Of some scopes.
DELETE FROM tenuto.budget WHERE scope = ANY (ARRAY(SELECT json_array_elements_text($1::json)));

-- name: check_calls_miscounted
-- The total of a tree is the sum of its ledgers.
WITH known (root, calls, money) AS (
    SELECT coalesce(top.id, one.id), count(*),
        sum(coalesce((coalesce(entry::json -> 'actual', entry::json -> 'bound') ->> 'money')::bigint, 0))
    FROM tenuto.call
    JOIN tenuto.spec AS one ON one.number = call.task
    LEFT JOIN tenuto.spec AS top ON top.number = one.root
    GROUP BY 1
)
SELECT count(*) FROM tenuto.count AS total LEFT JOIN known ON known.root = substr(scope, length('tree:') + 1)
WHERE kind = 'tree' AND (total.calls <> coalesce(known.calls, 0) OR total.money <> coalesce(known.money, 0));
