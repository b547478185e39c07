-- What callers submit inside their own transactions, and how it comes into the store.

-- name: guard_callers
-- Whether no caller has a transaction open in which it has submitted; none begins to before this one ends.
SELECT pg_try_advisory_xact_lock($1::bigint);

-- name: guard_callers_here
-- The same for a transaction that counts on it: where it is not so, statements that ask for it do nothing.
SELECT set_config('tenuto.stands', pg_try_advisory_xact_lock($1::bigint)::text, true);

-- name: join_callers
-- In the caller's transaction: the store minds open ones from now on. Waits for the store's present transaction.
SELECT pg_advisory_xact_lock_shared($1::bigint);

-- name: guard_names
-- In the caller's transaction: takes the locks of names until the transaction ends; those that another transaction has, as JSON.
SELECT coalesce(json_agg(name), '[]')::text FROM unnest($1::bigint[]) AS name WHERE NOT pg_try_advisory_xact_lock(name);

-- name: open_names
-- Locks that transactions have in this database, as JSON: those of names are among them. Looked at and not taken: a
-- caller that takes one from now on rehearses after this transaction, and so finds what it has stored.
SELECT coalesce(json_agg((classid::bigint << 32) | objid::bigint), '[]')::text FROM pg_catalog.pg_locks
WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock' AND objsubid = 1
    AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database());

-- name: arrived
-- Below which transaction nothing can arrive any more, whether something has arrived from there on, and since when the
-- server runs, in microseconds. Nothing could arrive below $1, on the server that has run since $2: another one, which
-- a failover has put in its place, may use numbers of transactions again.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
    EXISTS (
        SELECT FROM tenuto.arrival
        WHERE xid >= CASE WHEN $2::bigint = since THEN $1::text::xid8 ELSE '0'::xid8 END AND trouble IS NULL
    ), since
FROM (SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS since) AS server;

-- name: arrivals
-- What has arrived, in order, as JSON.
SELECT json_agg(json_build_array(number, trees) ORDER BY number)::text
FROM (
    SELECT number, trees FROM tenuto.arrival
    WHERE xid >= $1::text::xid8 AND trouble IS NULL ORDER BY number LIMIT $2::bigint
) AS first;

-- name: forget_arrivals
-- They were admitted.
DELETE FROM tenuto.arrival WHERE number = ANY ($1::bigint[]);

-- name: set_arrival_aside
-- It cannot be read.
UPDATE tenuto.arrival SET trouble = $2::text WHERE number = $1::bigint;

-- name: own_arrivals
-- In the caller's transaction: what it has submitted before.
SELECT trees FROM tenuto.arrival WHERE xid = pg_current_xact_id_if_assigned() ORDER BY number;

-- name: insert_arrival
-- In the caller's transaction.
INSERT INTO tenuto.arrival (trees) VALUES ($1::text);

-- name: tell_arrival
-- In the caller's transaction: heard when it commits.
SELECT pg_notify($1::text, $2::text);

-- name: identity
-- The server and the database behind a connection.
SELECT concat(
    (SELECT system_identifier FROM pg_control_system()), ' ',
    (SELECT oid FROM pg_database WHERE datname = current_database())
);
