-- Tasks: reading them in bulk, writing them in bulk, and lists.
-- The first three reads give one JSON text: [[[number, root number, has messages, is awaited, waits, task], [result]], ...].

-- name: tasks_by_id
-- Tasks by id.
SELECT '[' || string_agg(text, ',') || ']' FROM tenuto.whole
WHERE id = ANY (ARRAY(SELECT json_array_elements_text($1::json)));

-- name: tasks_by_number
-- Tasks by number.
SELECT '[' || string_agg(text, ',') || ']' FROM tenuto.whole
WHERE number = ANY (ARRAY(SELECT json_array_elements_text($1::json)::bigint));

-- name: tasks_after
-- The first $2 tasks after number $1.
SELECT '[' || string_agg(text, ',') || ']' FROM tenuto.whole
WHERE number = ANY (ARRAY(SELECT number FROM tenuto.spec WHERE number > $1::bigint ORDER BY number LIMIT $2::bigint));

-- name: insert_specs
-- What was submitted.
INSERT INTO tenuto.spec (number, id, goal, lane, root, parent, unique_key, fixed)
SELECT number, id, goal = 1, lane, root, parent, unique_key, fixed FROM unnest(
    $1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::text[]
) AS new (number, id, goal, lane, root, parent, unique_key, fixed)
WHERE current_setting('tenuto.stands')::boolean;

-- name: insert_tasks
-- What transitions change.
INSERT INTO tenuto.task (number, lane, state, tops, rank, due, finished, parked, result, live)
SELECT number, lane, state, root IS NULL, rank, due, finished, parked, result, live FROM unnest(
    $1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[],
    $9::text[], $10::text[]
) AS new (number, lane, state, root, rank, due, finished, parked, result, live)
WHERE current_setting('tenuto.stands')::boolean;

-- name: insert_tags
-- Tags of new tasks.
INSERT INTO tenuto.tag (tag, task) SELECT * FROM unnest($1::text[], $2::bigint[]) ON CONFLICT DO NOTHING;

-- name: update_tasks
-- What transitions changed.
UPDATE tenuto.task SET
    state = changed.state, rank = changed.rank, due = changed.due, parked = changed.parked,
    finished = changed.finished, result = changed.result, live = changed.live
FROM unnest(
    $1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::text[], $8::text[]
) AS changed (number, state, rank, due, parked, finished, result, live)
WHERE task.number = changed.number AND current_setting('tenuto.stands')::boolean;

-- name: children
-- Numbers of the children of a task.
SELECT coalesce(json_agg(number), '[]')::text FROM tenuto.spec WHERE parent = $1::bigint;

-- name: active_children
-- Numbers of those that are not final.
SELECT coalesce(json_agg(spec.number), '[]')::text
FROM tenuto.spec JOIN tenuto.task ON task.number = spec.number WHERE spec.parent = $1::bigint AND state < 6;

-- name: active_descendants
-- Numbers of what is not final below a task, at any depth, also below what has ended.
WITH RECURSIVE below (number) AS (
    SELECT number FROM tenuto.spec WHERE parent = $1::bigint
    UNION ALL
    SELECT child.number FROM below JOIN tenuto.spec AS child ON child.parent = below.number
)
SELECT coalesce(json_agg(below.number), '[]')::text
FROM below JOIN tenuto.task ON task.number = below.number WHERE state < 6;

-- name: newest
-- Numbers of tasks, newest first.
SELECT coalesce(json_agg(number), '[]')::text FROM (
    SELECT number FROM tenuto.task WHERE number < $1::bigint ORDER BY number DESC LIMIT $2::bigint
) AS found;

-- name: newest_active
-- Numbers of tasks that are not final, in some states, newest first.
SELECT coalesce(json_agg(number), '[]')::text FROM (
    SELECT number FROM (
        SELECT number FROM tenuto.task
        WHERE state < 5 AND number < $1::bigint
            AND state = ANY (ARRAY(SELECT json_array_elements_text($3::json)::smallint))
        UNION ALL
        SELECT number FROM tenuto.task
        WHERE due IS NOT NULL AND state = 5 AND number < $1::bigint
            AND 5 = ANY (ARRAY(SELECT json_array_elements_text($3::json)::smallint))
    ) AS active ORDER BY number DESC LIMIT $2::bigint
) AS found;

-- name: newest_ended
-- Numbers of tasks in some final states, newest first.
SELECT coalesce(json_agg(number), '[]')::text FROM (
    SELECT number FROM (
        SELECT number FROM tenuto.task
        WHERE state >= 6 AND tops AND number < $1::bigint
            AND state = ANY (ARRAY(SELECT json_array_elements_text($3::json)::smallint))
        UNION ALL
        SELECT number FROM tenuto.task
        WHERE state >= 6 AND NOT tops AND number < $1::bigint
            AND state = ANY (ARRAY(SELECT json_array_elements_text($3::json)::smallint))
    ) AS ended ORDER BY number DESC LIMIT $2::bigint
) AS found;

-- name: newest_of_tree
-- Numbers of a tree's tasks, newest first; $3 is the root's id.
SELECT coalesce(json_agg(number), '[]')::text FROM (
    SELECT number FROM (
        SELECT number FROM tenuto.spec WHERE root = (SELECT top.number FROM tenuto.spec AS top WHERE top.id = $3::text)
        UNION ALL
        SELECT number FROM tenuto.spec WHERE id = $3::text AND root IS NULL
    ) AS tree WHERE number < $1::bigint ORDER BY number DESC LIMIT $2::bigint
) AS found;

-- name: newest_of_parent
-- Numbers of a task's children, newest first; $3 is the parent's id.
SELECT coalesce(json_agg(number), '[]')::text FROM (
    SELECT number FROM tenuto.spec
    WHERE number < $1::bigint AND parent = (SELECT top.number FROM tenuto.spec AS top WHERE top.id = $3::text)
    ORDER BY number DESC LIMIT $2::bigint
) AS found;

-- name: newest_of_tag
-- Numbers of tasks with a tag, newest first.
SELECT coalesce(json_agg(task), '[]')::text FROM (
    SELECT task FROM tenuto.tag WHERE tag = $3::text AND task < $1::bigint ORDER BY task DESC LIMIT $2::bigint
) AS found;

-- name: newest_of_lanes
-- Numbers of tasks of an agent ($3) and an owner ($4), either of them null for any, newest first.
SELECT coalesce(json_agg(number), '[]')::text FROM (
    SELECT newest.number FROM tenuto.lane CROSS JOIN LATERAL (
        SELECT number FROM tenuto.spec WHERE spec.lane = lane.lane AND number < $1::bigint
        ORDER BY number DESC LIMIT $2::bigint
    ) AS newest
    WHERE agent = coalesce($3::text, agent) AND owner = coalesce($4::text, owner)
    ORDER BY newest.number DESC LIMIT $2::bigint
) AS found;

-- name: count_states
-- How many tasks are in each state, goals not counted.
SELECT coalesce(json_agg(json_build_array(state, tasks)), '[]')::text FROM (
    SELECT state, count(*) AS tasks FROM tenuto.task WHERE state < 5 GROUP BY state
    UNION ALL SELECT state, count(*) FROM tenuto.task WHERE due IS NOT NULL AND state = 5 GROUP BY state
    UNION ALL SELECT state, count(*) FROM tenuto.task WHERE state >= 6 AND tops GROUP BY state
    UNION ALL SELECT state, count(*) FROM tenuto.task WHERE state >= 6 AND NOT tops GROUP BY state
    UNION ALL
    SELECT state, -count(*) FROM tenuto.spec JOIN tenuto.task ON task.number = spec.number WHERE goal GROUP BY state
) AS counted;

-- name: loads
-- Unfinished tasks by agent and state; goals have no agent.
SELECT coalesce(json_agg(json_build_array(agent, state, tasks)), '[]')::text FROM (
    SELECT agent, state, sum(tasks) AS tasks FROM (
        SELECT state, lane, count(*) AS tasks FROM tenuto.task WHERE state < 5 GROUP BY state, lane
        UNION ALL
        SELECT state, lane, count(*) FROM tenuto.task WHERE due IS NOT NULL AND state = 5 GROUP BY state, lane
    ) AS counted JOIN tenuto.lane USING (lane) GROUP BY agent, state
) AS loads;

-- name: parked_unpaused
-- How many parked tasks there are by agent.
SELECT coalesce(json_agg(json_build_array(agent, tasks)), '[]')::text FROM (
    SELECT substr(parked, strpos(parked, chr(31)) + 1) AS agent, count(*) AS tasks
    FROM tenuto.task WHERE parked IS NOT NULL GROUP BY 1
) AS counted;

-- name: insert_blob
-- A large value, unless it is there.
INSERT INTO tenuto.blob (root, key, data) VALUES ($1::text, $2::text, $3::bytea) ON CONFLICT DO NOTHING;

-- name: blobs
-- Large values in the order of their keys, a JSON array, up to so many bytes, the first one in any case: how long each is,
-- [[key, bytes], ...], a line break, and then one behind the other.
WITH known AS MATERIALIZED (
    SELECT
        wanted.place, blob.key, octet_length(blob.data) AS size,
        sum(octet_length(blob.data)) OVER (ORDER BY wanted.place) AS up_to,
        row_number() OVER (ORDER BY wanted.place) AS nth
    FROM json_array_elements_text($2::json) WITH ORDINALITY AS wanted (key, place)
    JOIN tenuto.blob ON blob.root = $1::text AND blob.key = wanted.key
)
SELECT
    convert_to(jsonb_agg(jsonb_build_array(known.key, known.size) ORDER BY known.place)::text || chr(10), 'UTF8')
    || string_agg(blob.data, ''::bytea ORDER BY known.place)
FROM known JOIN tenuto.blob ON blob.root = $1::text AND blob.key = known.key
WHERE known.nth = 1 OR known.up_to <= $3::bigint;
