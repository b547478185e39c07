-- Lanes, limits, timers, schedules and workers: what claims and sweeps look at.

-- name: lane
-- A lane: number, tag, open, and its owner's weight.
SELECT json_array(lane, tag, open, ifnull((SELECT weight FROM tenuto_weight WHERE tenuto_weight.owner = ?3), 1.0))
FROM tenuto_lane WHERE agent = ?1 AND band = ?2 AND owner = ?3;

-- name: insert_lane
-- A new lane.
INSERT INTO tenuto_lane (agent, band, owner) VALUES (?1, ?2, ?3);

-- name: bands
-- The bands in which agents have open lanes.
SELECT json_group_array(band) FROM (
    SELECT DISTINCT band FROM tenuto_lane
    WHERE open = 1 AND agent IN (SELECT value FROM json_each(?1)) ORDER BY band
);

-- name: lanes
-- Open lanes of an agent's band, lowest tag first: each with its weight and its best tasks, and how many these are at
-- most. Of ?5 tasks, that is more than a fair share, and all where there are few lanes.
WITH share (most) AS MATERIALIZED (
    SELECT min(?5, 4 + ?5 * 5 / 4 / max(1, count(*))) FROM (
        SELECT 1 FROM tenuto_lane WHERE open = 1 AND agent = ?1 AND band = ?2 LIMIT ?3
    )
)
SELECT '[' || group_concat(
    '[' || lane || ',' || json_quote(owner) || ',' || json_quote(tag)
    || ',' || json_quote(ifnull((SELECT weight FROM tenuto_weight WHERE tenuto_weight.owner = open.owner), 1.0))
    || ',[' || ifnull((
        SELECT group_concat('[' || rank || ',' || number || ']') FROM (
            SELECT rank, number FROM tenuto_task INDEXED BY tenuto_task_idle
            WHERE state = 0 AND state < 5 AND tenuto_task.lane = open.lane ORDER BY rank, number
            LIMIT (SELECT most FROM share)
        )
    ), '') || '],' || (SELECT most FROM share) || ']'
) || ']' FROM (
    SELECT lane, owner, tag FROM tenuto_lane
    WHERE open = 1 AND agent = ?1 AND band = ?2 ORDER BY tag, owner LIMIT ?3 OFFSET ?4
) AS open;

-- name: heads
-- The next best tasks of a lane (?1) after one of them (?2, ?3).
SELECT json_group_array(json_array(rank, number)) FROM (
    SELECT rank, number FROM tenuto_task INDEXED BY tenuto_task_idle
    WHERE state = 0 AND state < 5 AND lane = ?1 AND (rank, number) > (?2, ?3) ORDER BY rank, number LIMIT ?4
);

-- name: update_lanes
-- Tags, and whether a lane may have claimable tasks.
WITH changed (lane, tag, open) AS (VALUES (?, ?, ?), ...)
UPDATE tenuto_lane SET tag = changed.tag, open = changed.open FROM changed WHERE tenuto_lane.lane = changed.lane;

-- name: virtual
-- The virtual time of an agent's band.
SELECT virtual FROM tenuto_queue WHERE agent = ?1 AND band = ?2;

-- name: put_virtuals
-- Virtual times.
INSERT OR REPLACE INTO tenuto_queue (agent, band, virtual) VALUES (?, ?, ?), ...;

-- name: put_weight
-- An owner's weight.
INSERT OR REPLACE INTO tenuto_weight (owner, weight) VALUES (?1, ?2);

-- name: limit
-- A limit's row.
SELECT json_object('key', key, 'limit', json(definition), 'used', used, 'tat', tat, 'opens', opens)
FROM tenuto_limit WHERE key = ?1;

-- name: limits
-- All that are defined.
SELECT json_group_array(
    json_object('key', key, 'limit', json(definition), 'used', used, 'tat', tat, 'opens', opens)
) FROM (SELECT * FROM tenuto_limit WHERE definition IS NOT NULL ORDER BY key);

-- name: opened_limits
-- Those behind which parked tasks may find room.
SELECT json_group_array(
    json_object('key', key, 'limit', json(definition), 'used', used, 'tat', tat, 'opens', opens)
) FROM (
    SELECT * FROM tenuto_limit
    WHERE opens IS NOT NULL AND definition IS NOT NULL AND opens <= ?1 ORDER BY opens, key LIMIT ?2
);

-- name: next_opens
-- When the next limit opens.
SELECT min(opens) FROM tenuto_limit WHERE opens IS NOT NULL AND definition IS NOT NULL;

-- name: put_limits
-- Rows of limits.
INSERT OR REPLACE INTO tenuto_limit (key, definition, used, tat, opens) VALUES (?, ?, ?, ?, ?), ...;

-- name: drop_limits
-- Forgets limits: ?1 is a JSON array of keys.
DELETE FROM tenuto_limit WHERE key IN (SELECT value FROM json_each(?1));

-- name: parked
-- Numbers of the best tasks parked behind a limit.
SELECT json_group_array(number) FROM (
    SELECT number FROM tenuto_task WHERE parked = ?1 ORDER BY rank, number LIMIT ?2
);

-- name: parked_agents
-- Agents with tasks parked behind a limit, and how many: ?1 to ?2 is the range of the limit's key.
SELECT json_group_array(json_array(substr(parked, instr(parked, char(31)) + 1), tasks)) FROM (
    SELECT parked, count(*) AS tasks FROM tenuto_task WHERE parked >= ?1 AND parked < ?2 GROUP BY parked ORDER BY parked
);

-- name: due
-- Numbers of tasks whose time has come.
SELECT json_group_array(number) FROM (
    SELECT number FROM tenuto_task WHERE due IS NOT NULL AND due <= ?1 ORDER BY due, number LIMIT ?2
);

-- name: dues
-- The earliest instants at which time alone changes a task; [instant, number] each.
SELECT json_group_array(json_array(due, number)) FROM (
    SELECT due, number FROM tenuto_task WHERE due IS NOT NULL ORDER BY due, number LIMIT ?1
);

-- name: next_timer
-- The earliest instant at which a limit opens, or a schedule is due.
SELECT min(at) FROM (
    SELECT min(opens) AS at FROM tenuto_limit WHERE opens IS NOT NULL AND definition IS NOT NULL AND opens > 0
    UNION ALL
    SELECT min(next_at) FROM tenuto_schedule WHERE next_at IS NOT NULL
);

-- name: schedule
-- One schedule.
SELECT schedule FROM tenuto_schedule WHERE name = ?1;

-- name: schedules
-- All schedules.
SELECT '[' || group_concat(schedule) || ']' FROM (SELECT schedule FROM tenuto_schedule ORDER BY name);

-- name: due_schedules
-- Schedules whose time has come.
SELECT '[' || group_concat(schedule) || ']' FROM (
    SELECT schedule FROM tenuto_schedule WHERE next_at IS NOT NULL AND next_at <= ?1 ORDER BY next_at, name LIMIT ?2
);

-- name: put_schedule
-- Creates or replaces one.
INSERT OR REPLACE INTO tenuto_schedule (name, next_at, schedule) VALUES (?1, ?2, ?3);

-- name: delete_schedule
-- Removes one.
DELETE FROM tenuto_schedule WHERE name = ?1;

-- name: put_worker
-- A worker's presence.
INSERT OR REPLACE INTO tenuto_worker (id, seen_at, worker) VALUES (?1, ?2, ?3);

-- name: workers
-- Workers seen since.
SELECT '[' || group_concat(worker) || ']' FROM (SELECT worker FROM tenuto_worker WHERE seen_at >= ?1 ORDER BY id);

-- name: delete_workers
-- Forgets those not seen since.
DELETE FROM tenuto_worker WHERE seen_at < ?1;
