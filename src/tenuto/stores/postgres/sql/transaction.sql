-- Beginning and ending a transaction that writes. One at a time: whoever has the store's lock.

-- name: settings
-- For this transaction alone, so that a pooler may stand between. Plans are made once for any number of rows, and find
-- rows by index: what is small or empty when a plan is made may be large soon after. A client that stands still in the
-- middle of a transaction loses it, so that others can go on.
SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('jit', 'off', true), set_config('synchronous_commit', $1::text, true),
    set_config('lock_timeout', $2::text, true), set_config('idle_in_transaction_session_timeout', $3::text, true),
    set_config('tenuto.stands', 'true', true);

-- name: lock
-- Held until the transaction ends, and that is after what it wrote can be seen.
SELECT pg_advisory_xact_lock($1::bigint);

-- name: end_stuck
-- Ends the session that has the lock $1, where its program has sent a part of a transaction and then nothing for $2
-- seconds: to the server such a session is at work, not idle. Only sessions of the same role can be seen so closely.
SELECT count(pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
WHERE usename = current_user AND state = 'active' AND wait_event = 'ClientRead'
    AND query_start < clock_timestamp() - make_interval(secs => $2::bigint)
    AND pid IN (
        SELECT pid FROM pg_catalog.pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
            AND ((classid::bigint << 32) | objid::bigint) = $1::bigint
            AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
    );

-- name: header
-- Where the store stands: the latest transaction and its mark; number, cursor and clock; the server's time; and what was
-- changed after which transaction, as JSON: after $1 where that one is not long ago and its mark was $2, else after
-- the latest that wrote everything, as every one does whose number is a multiple of $3.
SELECT version, mark, number, cursor, clock, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, follows, base,
    (
        SELECT '[' || string_agg(coalesce(later.changes, '[true]'), ',' ORDER BY later.version) || ']'
        FROM tenuto.header AS later WHERE later.version > base
    )
FROM (
    SELECT *, CASE WHEN follows THEN $1::bigint ELSE version - version % $3::bigint END AS base FROM (
        SELECT latest.*, version - $1::bigint BETWEEN 0 AND $3::bigint AND EXISTS (
            SELECT 1 FROM tenuto.header AS known WHERE known.version = $1::bigint AND known.mark = $2::bigint
        ) AS follows
        FROM (
            SELECT version, mark, number, cursor, clock FROM tenuto.header ORDER BY version DESC LIMIT 1
        ) AS latest
    ) AS known
) AS based;

-- name: stands
-- Whether the store stands where a transaction counts on it, and what it counts on is so: its latest transaction is $1
-- with the mark $2; the server has run since $3, and nothing has arrived from transaction $4 on; its clock is near $5,
-- where that is given; and there are no tasks with the ids $6. Where not, statements that ask for it do nothing. With
-- the server's time, and the transaction below which nothing can arrive any more.
SELECT set_config('tenuto.stands', (
    current_setting('tenuto.stands')::boolean
    AND (SELECT version = $1::bigint AND mark = $2::bigint FROM tenuto.header ORDER BY version DESC LIMIT 1)
    AND (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint = $3::bigint
    AND NOT EXISTS (SELECT FROM tenuto.arrival WHERE xid >= $4::text::xid8 AND trouble IS NULL)
    AND ($5::bigint IS NULL OR abs(now - $5::bigint) < 1000)
    AND NOT EXISTS (SELECT FROM tenuto.spec WHERE id = ANY ($6::text[]))
)::text, true)::boolean, now, pg_snapshot_xmin(pg_current_snapshot())::text::bigint
FROM (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now OFFSET 0) AS clock;

-- name: keep
-- The header of this transaction.
INSERT INTO tenuto.header (version, mark, number, cursor, clock, changes)
SELECT $1::bigint, $2::bigint, $3::bigint, $4::bigint, $5::bigint, $6::text
WHERE current_setting('tenuto.stands')::boolean;

-- name: pack_headers
-- Removes headers of some versions ($1 to $2), so that removed ones are not walked over again; their marks stay.
WITH gone AS (
    DELETE FROM tenuto.header WHERE version >= $1::bigint AND version < $2::bigint RETURNING version, mark, clock
)
INSERT INTO tenuto.past (first, marks, at)
SELECT min(version), array_agg(mark ORDER BY version), max(clock) FROM gone HAVING count(*) > 0;

-- name: forget_marks
-- Those that were made before $1.
DELETE FROM tenuto.past WHERE at < $1::bigint;

-- name: mark_of
-- Whose transaction a version was; null where there is none, or where that is not known any more.
SELECT coalesce(
    (SELECT mark FROM tenuto.header WHERE version = $1::bigint),
    (SELECT marks[$1::bigint - first + 1] FROM tenuto.past WHERE first <= $1::bigint ORDER BY first DESC LIMIT 1)
);

-- name: timeline
-- How often a standby has become the primary, and one. The first is set by that, and the second soon after, when the
-- first may go again: so they are read in this order. Both can be read on services that have no functions for the log.
SELECT greatest(
    (SELECT min_recovery_end_timeline FROM pg_control_recovery()), (SELECT timeline_id FROM pg_control_checkpoint())
);

-- name: own_transaction
-- Which transaction this is.
SELECT pg_current_xact_id();
