-- Counts and checks of the whole store: for people who ask, never for requests.

-- name: database
-- Where we are.
SELECT current_database(), split_part(current_setting('server_version'), ' ', 1);

-- name: storage
-- Bytes of the store's tables and indexes.
SELECT coalesce(sum(pg_total_relation_size(class.oid)), 0)::bigint
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
WHERE space.nspname = %s AND class.relkind = 'r';

-- name: ownership
-- The tables of the store, and whether this role may vacuum them.
SELECT class.relname, pg_has_role(class.relowner, 'USAGE')
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
WHERE space.nspname = %s AND class.relkind = 'r'
ORDER BY class.relname;

-- name: count_tasks
-- How many there are.
SELECT count(*) FROM tenuto.task;

-- name: count_events
-- How many there are.
SELECT count(*) FROM tenuto.event;

-- name: count_steps
-- How many there are.
SELECT count(*) FROM tenuto.step;

-- name: count_messages
-- How many there are.
SELECT count(*) FROM tenuto.message;

-- name: count_blobs
-- How many there are.
SELECT count(*) FROM tenuto.blob;

-- name: count_keys
-- How many there are.
SELECT count(*) FROM tenuto.key;

-- name: count_lanes
-- How many there are.
SELECT count(*) FROM tenuto.lane;

-- name: count_schedules
-- How many there are.
SELECT count(*) FROM tenuto.schedule;

-- name: count_limits
-- How many there are.
SELECT count(*) FROM tenuto.allowance;

-- name: count_arrivals
-- What callers have committed and nobody has admitted yet.
SELECT count(*) FROM tenuto.arrival;

-- name: check_task_without_spec
-- Tasks that cannot be read.
SELECT count(*) FROM tenuto.task LEFT JOIN tenuto.spec USING (number) WHERE spec.number IS NULL;

-- name: check_spec_without_task
-- What a purge left behind.
SELECT count(*) FROM tenuto.spec LEFT JOIN tenuto.task USING (number) WHERE task.number IS NULL;

-- name: check_task_without_lane
-- Tasks that no claim finds.
SELECT count(*) FROM tenuto.task LEFT JOIN tenuto.lane USING (lane) WHERE lane.lane IS NULL;

-- name: check_claimable_in_closed_lane
-- Tasks that no claim finds either.
SELECT count(*) FROM tenuto.task JOIN tenuto.lane USING (lane) WHERE task.state = 0 AND NOT lane.open;

-- name: check_running_without_lease
-- Tasks that would run for ever.
SELECT count(*) FROM tenuto.task WHERE state = 5 AND ('{' || live || '}')::json ->> 'lease_until' IS NULL;

-- name: check_missing_events
-- Transitions and events are written together.
SELECT count(*)
FROM tenuto.task LEFT JOIN (SELECT task, count(*) AS events FROM tenuto.event GROUP BY task) AS told
    ON told.task = task.number
WHERE coalesce((('{' || live || '}')::json ->> 'seq')::bigint, 0) <> coalesce(told.events, 0);

-- name: check_wait_without_waiting
-- Waits are over when their task goes on.
SELECT count(*) FROM tenuto.wait LEFT JOIN tenuto.task ON task.number = wait.task
WHERE task.state IS NULL OR task.state <> 4;

-- name: check_slots_miscounted
-- A slot is held exactly while a lease is.
WITH held (key, slots) AS (
    SELECT named.value, count(*)
    FROM tenuto.task JOIN tenuto.spec USING (number),
        json_array_elements_text(coalesce(('{' || fixed || '}')::json -> 'limits', '[]')) AS named (value)
    WHERE ('{' || live || '}')::json ->> 'lease_until' IS NOT NULL
    GROUP BY named.value
)
SELECT count(*) FROM tenuto.allowance LEFT JOIN held USING (key) WHERE used <> coalesce(slots, 0);

-- name: check_orphans
-- Trees are purged whole.
SELECT count(*) FROM tenuto.spec AS one
WHERE (root IS NOT NULL AND NOT EXISTS (SELECT FROM tenuto.spec AS other WHERE other.number = one.root))
    OR (parent IS NOT NULL AND NOT EXISTS (SELECT FROM tenuto.spec AS other WHERE other.number = one.parent));

-- name: check_unreadable_arrivals
-- They were set aside.
SELECT count(*) FROM tenuto.arrival WHERE trouble IS NOT NULL;

-- name: forget_lanes
-- Lanes without tasks whose tag the virtual time has passed: a new one begins where the queue is.
DELETE FROM tenuto.lane
WHERE NOT EXISTS (SELECT FROM tenuto.spec WHERE spec.lane = lane.lane)
    AND tag <= coalesce((
        SELECT virtual FROM tenuto.queue WHERE queue.agent = lane.agent AND queue.band = lane.band
    ), 0.0);

-- name: forget_queues
-- Virtual times of agents that have no lanes.
DELETE FROM tenuto.queue
WHERE NOT EXISTS (SELECT FROM tenuto.lane WHERE lane.agent = queue.agent AND lane.band = queue.band);
