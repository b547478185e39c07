-- Lanes, limits, timers, schedules and workers: what claims and sweeps look at.

-- name: lane
-- A lane: number, tag, open, and its owner's weight.
SELECT json_build_array(
    lane, tag, open::int, coalesce((SELECT weight FROM tenuto.weight WHERE weight.owner = $3::text), 1.0)
)::text
FROM tenuto.lane WHERE agent = $1::text AND band = $2::bigint AND owner = $3::text;

-- name: insert_lane
-- A new lane.
INSERT INTO tenuto.lane (agent, band, owner) VALUES ($1::text, $2::bigint, $3::text);

-- name: bands
-- The bands in which agents have open lanes.
SELECT coalesce(json_agg(band ORDER BY band), '[]')::text FROM (
    SELECT DISTINCT band FROM tenuto.lane
    WHERE open AND agent = ANY (ARRAY(SELECT json_array_elements_text($1::json)))
) AS found;

-- name: lanes
-- Open lanes of an agent's band, lowest tag first: each with its weight and its best tasks, and how many these are at
-- most. Of $5 tasks, that is more than a fair share, and all where there are few lanes.
WITH share (most) AS MATERIALIZED (
    SELECT least($5::bigint, 4 + $5::bigint * 5 / 4 / greatest(1, count(*))) FROM (
        SELECT 1 FROM tenuto.lane WHERE open AND agent = $1::text AND band = $2::bigint LIMIT $3::bigint
    ) AS few
)
SELECT '[' || string_agg(
    concat(
        '[', lane, ',', to_json(owner), ',', tag, ',',
        coalesce((SELECT weight FROM tenuto.weight WHERE weight.owner = near.owner), 1.0), ',[',
        (
            SELECT string_agg(concat('[', rank, ',', number, ']'), ',') FROM (
                SELECT rank, number FROM tenuto.task
                WHERE state = 0 AND state < 5 AND task.lane = near.lane ORDER BY rank, number
                LIMIT (SELECT most FROM share)
            ) AS heads
        ),
        '],', (SELECT most FROM share), ']'
    ), ',' ORDER BY tag, owner
) || ']' FROM (
    SELECT lane, owner, tag FROM tenuto.lane
    WHERE open AND agent = $1::text AND band = $2::bigint ORDER BY tag, owner LIMIT $3::bigint OFFSET $4::bigint
) AS near;

-- name: heads
-- The next best tasks of a lane ($1) after one of them ($2, $3).
SELECT coalesce(json_agg(json_build_array(rank, number)), '[]')::text FROM (
    SELECT rank, number FROM tenuto.task
    WHERE state = 0 AND state < 5 AND lane = $1::bigint AND (rank, number) > ($2::bigint, $3::bigint)
    ORDER BY rank, number LIMIT $4::bigint
) AS found;

-- name: update_lanes
-- Tags, and whether a lane may have claimable tasks.
UPDATE tenuto.lane SET tag = changed.tag, open = changed.open = 1
FROM unnest($1::bigint[], $2::float[], $3::bigint[]) AS changed (lane, tag, open) WHERE lane.lane = changed.lane;

-- name: virtual
-- The virtual time of an agent's band.
SELECT virtual FROM tenuto.queue WHERE agent = $1::text AND band = $2::bigint;

-- name: put_virtuals
-- Virtual times.
INSERT INTO tenuto.queue (agent, band, virtual) SELECT * FROM unnest($1::text[], $2::bigint[], $3::float[])
ON CONFLICT (agent, band) DO UPDATE SET virtual = excluded.virtual;

-- name: put_weight
-- An owner's weight.
INSERT INTO tenuto.weight (owner, weight) VALUES ($1::text, $2::float)
ON CONFLICT (owner) DO UPDATE SET weight = excluded.weight;

-- name: limit
-- A limit's row.
SELECT json_build_object('key', key, 'limit', definition::json, 'used', used, 'tat', tat, 'opens', opens)::text
FROM tenuto.allowance WHERE key = $1::text;

-- name: limits
-- All that are defined.
SELECT coalesce(json_agg(
    json_build_object('key', key, 'limit', definition::json, 'used', used, 'tat', tat, 'opens', opens) ORDER BY key
), '[]')::text FROM tenuto.allowance WHERE definition IS NOT NULL;

-- name: opened_limits
-- Those behind which parked tasks may find room.
SELECT coalesce(json_agg(
    json_build_object('key', key, 'limit', definition::json, 'used', used, 'tat', tat, 'opens', opens)
), '[]')::text FROM (
    SELECT * FROM tenuto.allowance
    WHERE opens IS NOT NULL AND definition IS NOT NULL AND opens <= $1::bigint ORDER BY opens, key LIMIT $2::bigint
) AS found;

-- name: next_opens
-- When the next limit opens.
SELECT min(opens) FROM tenuto.allowance WHERE opens IS NOT NULL AND definition IS NOT NULL;

-- name: put_limits
-- Rows of limits.
INSERT INTO tenuto.allowance (key, definition, used, tat, opens)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::float[], $5::bigint[])
ON CONFLICT (key) DO UPDATE SET
    definition = excluded.definition, used = excluded.used, tat = excluded.tat, opens = excluded.opens;

-- name: drop_limits
-- Forgets limits: $1 is a JSON array of keys.
DELETE FROM tenuto.allowance WHERE key = ANY (ARRAY(SELECT json_array_elements_text($1::json)));

-- name: parked
-- Numbers of the best tasks parked behind a limit.
SELECT coalesce(json_agg(number), '[]')::text FROM (
    SELECT number FROM tenuto.task WHERE parked = $1::text ORDER BY rank, number LIMIT $2::bigint
) AS found;

-- name: parked_agents
-- Agents with tasks parked behind a limit, and how many: $1 to $2 is the range of the limit's key.
SELECT coalesce(json_agg(json_build_array(substr(parked, strpos(parked, chr(31)) + 1), tasks)), '[]')::text FROM (
    SELECT parked, count(*) AS tasks FROM tenuto.task
    WHERE parked >= $1::text AND parked < $2::text GROUP BY parked ORDER BY parked
) AS found;

-- name: due
-- Numbers of tasks whose time has come.
SELECT coalesce(json_agg(number), '[]')::text FROM (
    SELECT number FROM tenuto.task WHERE due IS NOT NULL AND due <= $1::bigint ORDER BY due, number LIMIT $2::bigint
) AS found;

-- name: dues
-- The earliest instants at which time alone changes a task; [instant, number] each.
SELECT coalesce(json_agg(json_build_array(due, number)), '[]')::text FROM (
    SELECT due, number FROM tenuto.task WHERE due IS NOT NULL ORDER BY due, number LIMIT $1::bigint
) AS found;

-- name: next_timer
-- The earliest instant at which a limit opens, or a schedule is due.
SELECT least(
    (SELECT min(opens) FROM tenuto.allowance WHERE opens IS NOT NULL AND definition IS NOT NULL AND opens > 0),
    (SELECT min(next_at) FROM tenuto.schedule WHERE next_at IS NOT NULL)
);

-- name: schedule
-- One schedule.
SELECT schedule FROM tenuto.schedule WHERE name = $1::text;

-- name: schedules
-- All schedules.
SELECT '[' || string_agg(schedule, ',' ORDER BY name) || ']' FROM tenuto.schedule;

-- name: due_schedules
-- Schedules whose time has come.
SELECT '[' || string_agg(schedule, ',') || ']' FROM (
    SELECT schedule FROM tenuto.schedule
    WHERE next_at IS NOT NULL AND next_at <= $1::bigint ORDER BY next_at, name LIMIT $2::bigint
) AS found;

-- name: put_schedule
-- Creates or replaces one.
INSERT INTO tenuto.schedule (name, next_at, schedule) VALUES ($1::text, $2::bigint, $3::text)
ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at, schedule = excluded.schedule;

-- name: delete_schedule
-- Removes one.
DELETE FROM tenuto.schedule WHERE name = $1::text;

-- name: put_worker
-- A worker's presence.
INSERT INTO tenuto.worker (id, seen_at, worker) VALUES ($1::text, $2::bigint, $3::text)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, worker = excluded.worker;

-- name: workers
-- Workers seen since.
SELECT '[' || string_agg(worker, ',' ORDER BY id) || ']' FROM tenuto.worker WHERE seen_at >= $1::bigint;

-- name: delete_workers
-- Forgets those not seen since.
DELETE FROM tenuto.worker WHERE seen_at < $1::bigint;
