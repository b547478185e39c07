-- Counts and checks of the whole file: for people who ask, never for requests.

-- name: count_tasks
-- How many there are.
SELECT count(*) FROM tenuto_task;

-- name: count_events
-- How many there are.
SELECT count(*) FROM tenuto_event;

-- name: count_steps
-- How many there are.
SELECT count(*) FROM tenuto_step;

-- name: count_messages
-- How many there are.
SELECT count(*) FROM tenuto_message;

-- name: count_blobs
-- How many there are.
SELECT count(*) FROM tenuto_blob;

-- name: count_keys
-- How many there are.
SELECT count(*) FROM tenuto_key;

-- name: count_lanes
-- How many there are.
SELECT count(*) FROM tenuto_lane;

-- name: count_schedules
-- How many there are.
SELECT count(*) FROM tenuto_schedule;

-- name: count_limits
-- How many there are.
SELECT count(*) FROM tenuto_limit;

-- name: check_task_without_spec
-- Tasks that cannot be read.
SELECT count(*) FROM tenuto_task LEFT JOIN tenuto_spec USING (number) WHERE fixed IS NULL;

-- name: check_spec_without_task
-- What a purge left behind.
SELECT count(*) FROM tenuto_spec LEFT JOIN tenuto_task USING (number) WHERE id IS NULL;

-- name: check_task_without_lane
-- Tasks that no claim finds.
SELECT count(*) FROM tenuto_task LEFT JOIN tenuto_lane USING (lane) WHERE agent IS NULL;

-- name: check_claimable_in_closed_lane
-- Tasks that no claim finds either.
SELECT count(*) FROM tenuto_task JOIN tenuto_lane USING (lane) WHERE state = 0 AND open = 0;

-- name: check_running_without_lease
-- Tasks that would run for ever.
SELECT count(*) FROM tenuto_task WHERE state = 5 AND '{' || live || '}' ->> 'lease_until' IS NULL;

-- name: check_missing_events
-- Transitions and events are written together.
SELECT count(*) FROM tenuto_task
WHERE ifnull('{' || live || '}' ->> 'seq', 0) <> (SELECT count(*) FROM tenuto_event WHERE task = number);

-- name: check_wait_without_waiting
-- Waits are over when their task goes on.
SELECT count(*) FROM tenuto_wait LEFT JOIN tenuto_task ON number = task WHERE state IS NULL OR state <> 4;

-- name: check_slots_miscounted
-- A slot is held exactly while a lease is.
WITH held (key, slots) AS (
    SELECT named.value, count(*) FROM tenuto_task JOIN tenuto_spec USING (number), json_each('{' || fixed || '}', '$.limits') AS named
    WHERE '{' || live || '}' ->> 'lease_until' IS NOT NULL GROUP BY named.value
)
SELECT count(*) FROM tenuto_limit LEFT JOIN held USING (key) WHERE used <> ifnull(slots, 0);

-- name: check_orphans
-- Trees are purged whole.
SELECT count(*) FROM tenuto_task AS task
WHERE (root IS NOT NULL AND NOT EXISTS (SELECT 1 FROM tenuto_task AS other WHERE other.number = task.root))
    OR (parent IS NOT NULL AND NOT EXISTS (SELECT 1 FROM tenuto_task AS other WHERE other.number = task.parent));

-- name: forget_lanes
-- Lanes without tasks whose tag the virtual time has passed: a new one begins where the queue is.
DELETE FROM tenuto_lane
WHERE lane NOT IN (SELECT lane FROM tenuto_task)
    AND tag <= ifnull((
        SELECT virtual FROM tenuto_queue
        WHERE tenuto_queue.agent = tenuto_lane.agent AND tenuto_queue.band = tenuto_lane.band
    ), 0.0);

-- name: forget_queues
-- Virtual times of agents that have no lanes.
DELETE FROM tenuto_queue
WHERE NOT EXISTS (
    SELECT 1 FROM tenuto_lane WHERE tenuto_lane.agent = tenuto_queue.agent AND tenuto_lane.band = tenuto_queue.band
);
