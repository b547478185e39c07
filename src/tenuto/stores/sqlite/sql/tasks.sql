-- The reads give one row with one JSON text:
-- [[[number, root number, has messages, is awaited, waits, task], [result]], ...].

-- name: tasks_by_id
-- Tasks by id.
SELECT '[' || group_concat(
    '[[' || task.number || ',' || ifnull(task.root, 'null')
    || iif(EXISTS (SELECT 1 FROM tenuto_message WHERE tenuto_message.task = task.number AND taken = 0), ',true', ',false')
    || iif(EXISTS (SELECT 1 FROM tenuto_wait WHERE topic = 'task:' || task.id), ',true', ',false')
    || iif(
        state = 4 AND EXISTS (SELECT 1 FROM tenuto_wait WHERE tenuto_wait.task = task.number), ',true,{', ',false,{'
    )
    || fixed || ',' || live || '}],[' || ifnull(result, '') || ']]'
) || ']'
FROM json_each(?1) AS wanted
CROSS JOIN tenuto_task AS task ON task.id = wanted.value
CROSS JOIN tenuto_spec AS spec ON spec.number = task.number;

-- name: tasks_by_number
-- Tasks by number.
SELECT '[' || group_concat(
    '[[' || task.number || ',' || ifnull(task.root, 'null')
    || iif(EXISTS (SELECT 1 FROM tenuto_message WHERE tenuto_message.task = task.number AND taken = 0), ',true', ',false')
    || iif(EXISTS (SELECT 1 FROM tenuto_wait WHERE topic = 'task:' || task.id), ',true', ',false')
    || iif(
        state = 4 AND EXISTS (SELECT 1 FROM tenuto_wait WHERE tenuto_wait.task = task.number), ',true,{', ',false,{'
    )
    || fixed || ',' || live || '}],[' || ifnull(result, '') || ']]'
) || ']'
FROM json_each(?1) AS wanted
CROSS JOIN tenuto_task AS task ON task.number = wanted.value
CROSS JOIN tenuto_spec AS spec ON spec.number = task.number;

-- name: insert_tasks
-- New rows.
INSERT INTO tenuto_task
    (number, id, lane, state, rank, due, goal, root, parent, parked, unique_key, finished, result, live)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), ...;

-- name: insert_specs
-- What was submitted.
INSERT INTO tenuto_spec (number, fixed) VALUES (?, ?), ...;

-- name: insert_tags
-- Tags of new tasks.
INSERT OR IGNORE INTO tenuto_tag (tag, task) VALUES (?, ?), ...;

-- name: update_tasks
-- What transitions changed.
UPDATE tenuto_task SET
    state = changed.column2,
    rank = changed.column3,
    due = changed.column4,
    parked = changed.column5,
    finished = changed.column6,
    result = changed.column7,
    live = changed.column8
FROM (VALUES (?, ?, ?, ?, ?, ?, ?, ?), ...) AS changed WHERE number = changed.column1;

-- name: children
-- Numbers of the children of a task.
SELECT json_group_array(number) FROM tenuto_task WHERE parent = ?1;

-- name: active_children
-- Numbers of those that are not final.
SELECT json_group_array(number) FROM tenuto_task WHERE parent = ?1 AND state < 6;

-- name: newest
-- Numbers of tasks, newest first.
SELECT json_group_array(number) FROM (
    SELECT number FROM tenuto_task WHERE number < ?1 ORDER BY number DESC LIMIT ?2
);

-- name: newest_active
-- Numbers of tasks that are not final, in some states, newest first.
SELECT json_group_array(number) FROM (
    SELECT number FROM (
        SELECT number FROM tenuto_task
        WHERE state < 5 AND state IN (SELECT value FROM json_each(?3)) AND number < ?1
        UNION ALL
        SELECT number FROM tenuto_task INDEXED BY tenuto_task_due
        WHERE due IS NOT NULL AND state = 5 AND 5 IN (SELECT value FROM json_each(?3)) AND number < ?1
    ) ORDER BY number DESC LIMIT ?2
);

-- name: newest_ended
-- Numbers of tasks in some final states, newest first.
SELECT json_group_array(number) FROM (
    SELECT number FROM (
        SELECT number FROM tenuto_task
        WHERE state >= 6 AND root IS NULL AND state IN (SELECT value FROM json_each(?3)) AND number < ?1
        UNION ALL
        SELECT number FROM tenuto_task
        WHERE state >= 6 AND root IS NOT NULL AND state IN (SELECT value FROM json_each(?3)) AND number < ?1
    ) ORDER BY number DESC LIMIT ?2
);

-- name: newest_of_tree
-- Numbers of a tree's tasks, newest first; ?3 is the root's id.
SELECT json_group_array(number) FROM (
    SELECT number FROM tenuto_task
    WHERE number < ?1 AND root = (SELECT number FROM tenuto_task WHERE id = ?3)
    UNION ALL
    SELECT number FROM tenuto_task WHERE number < ?1 AND id = ?3 AND root IS NULL
    ORDER BY number DESC LIMIT ?2
);

-- name: newest_of_parent
-- Numbers of a task's children, newest first; ?3 is the parent's id.
SELECT json_group_array(number) FROM (
    SELECT number FROM tenuto_task
    WHERE number < ?1 AND parent = (SELECT number FROM tenuto_task WHERE id = ?3) ORDER BY number DESC LIMIT ?2
);

-- name: newest_of_tag
-- Numbers of tasks with a tag, newest first.
SELECT json_group_array(number) FROM (
    SELECT task AS number FROM tenuto_tag WHERE tag = ?3 AND task < ?1 ORDER BY task DESC LIMIT ?2
);

-- name: newest_of_lanes
-- Numbers of tasks of an agent (?3) and an owner (?4), either of them null for any, newest first.
SELECT json_group_array(number) FROM (
    SELECT number FROM tenuto_task
    WHERE number < ?1 AND lane IN (
        SELECT lane FROM tenuto_lane WHERE agent = ifnull(?3, agent) AND owner = ifnull(?4, owner)
    )
    ORDER BY number DESC LIMIT ?2
);

-- name: active_descendants
-- Numbers of what is not final below a task, at any depth, also below what has ended.
WITH RECURSIVE below (number, state) AS (
    SELECT number, state FROM tenuto_task WHERE parent = ?1
    UNION ALL
    SELECT child.number, child.state FROM below CROSS JOIN tenuto_task AS child ON child.parent = below.number
)
SELECT json_group_array(number) FROM below WHERE state < 6;

-- name: count_states
-- How many tasks are in each state, goals not counted.
SELECT json_group_array(json_array(state, tasks)) FROM (
    SELECT state, count(*) AS tasks FROM (
        SELECT state FROM tenuto_task WHERE state < 5
        UNION ALL SELECT state FROM tenuto_task WHERE due IS NOT NULL AND state = 5
        UNION ALL SELECT state FROM tenuto_task WHERE state >= 6 AND root IS NULL
        UNION ALL SELECT state FROM tenuto_task WHERE state >= 6 AND root IS NOT NULL
    ) GROUP BY state
    UNION ALL
    SELECT state, -count(*) FROM tenuto_task INDEXED BY tenuto_task_goal WHERE goal = 1 GROUP BY state
);

-- name: loads
-- Unfinished tasks by agent and state; goals have no agent.
SELECT json_group_array(json_array(agent, state, tasks)) FROM (
    SELECT agent, state, sum(tasks) AS tasks FROM (
        SELECT state, lane, count(*) AS tasks FROM tenuto_task WHERE state < 5 GROUP BY state, lane
        UNION ALL
        SELECT state, lane, count(*) AS tasks FROM tenuto_task WHERE due IS NOT NULL AND state = 5 GROUP BY lane
    ) AS counted JOIN tenuto_lane USING (lane) GROUP BY agent, state
);

-- name: parked_unpaused
-- How many parked tasks there are by agent.
SELECT json_group_array(json_array(agent, tasks)) FROM (
    SELECT substr(parked, instr(parked, char(31)) + 1) AS agent, count(*) AS tasks
    FROM tenuto_task WHERE parked IS NOT NULL GROUP BY agent
);

-- name: insert_blob
-- A large value, unless it is there.
INSERT OR IGNORE INTO tenuto_blob (root, key, data) VALUES (?1, ?2, ?3);

-- name: blobs
-- Large values in the order of their keys, a JSON array, up to so many bytes, the first one in any case: how long each is,
-- [[key, bytes], ...], a line break, and then one behind the other.
WITH known AS MATERIALIZED (
    SELECT
        wanted.key AS place, tenuto_blob.key AS key, length(tenuto_blob.data) AS size,
        sum(length(tenuto_blob.data)) OVER (ORDER BY wanted.key) AS up_to,
        row_number() OVER (ORDER BY wanted.key) AS nth
    FROM json_each(?2) AS wanted
    CROSS JOIN tenuto_blob ON tenuto_blob.root = ?1 AND tenuto_blob.key = wanted.value
)
SELECT CAST(
    json_group_array(json_array(known.key, known.size) ORDER BY known.place) || char(10)
    || group_concat(tenuto_blob.data, '' ORDER BY known.place)
AS BLOB)
FROM known CROSS JOIN tenuto_blob ON tenuto_blob.root = ?1 AND tenuto_blob.key = known.key
WHERE known.nth = 1 OR known.up_to <= ?3;
