-- Keys, edges, waits, inboxes and journals: what lies around tasks.

-- name: key
-- The id of the task that was submitted under an idempotency key.
SELECT task FROM tenuto_key WHERE owner = ?1 AND key = ?2;

-- name: insert_keys
-- Remembers idempotency keys.
INSERT INTO tenuto_key (owner, key, task, at) VALUES (?, ?, ?, ?), ...;

-- name: drop_keys
-- Forgets old keys.
DELETE FROM tenuto_key WHERE (owner, key) IN (SELECT owner, key FROM tenuto_key WHERE at < ?1 ORDER BY at LIMIT ?2);

-- name: unique_holder
-- The oldest task with a unique key that is in one of some states.
SELECT id FROM tenuto_task
WHERE unique_key = ?1 AND state IN (SELECT value FROM json_each(?2)) AND id <> ?3 ORDER BY number LIMIT 1;

-- name: insert_links
-- Edges of a goal, in order.
INSERT INTO tenuto_link (goal, source, target, fires) VALUES (?, ?, ?, ?), ...;

-- name: links_of_goal
-- Edges of a goal.
SELECT json_group_array(json_array(source, target, fires)) FROM (
    SELECT source, target, fires FROM tenuto_link WHERE goal = ?1 ORDER BY number
);

-- name: links_from
-- Out-edges of a node.
SELECT json_group_array(json_array(source, target, fires)) FROM (
    SELECT source, target, fires FROM tenuto_link WHERE source = ?1 ORDER BY number
);

-- name: links_to
-- In-edges of a node.
SELECT json_group_array(json_array(source, target, fires)) FROM (
    SELECT source, target, fires FROM tenuto_link WHERE target = ?1 ORDER BY number
);

-- name: insert_waits
-- Topics that tasks wait for.
INSERT OR IGNORE INTO tenuto_wait (topic, task) VALUES (?, ?), ...;

-- name: waiting_for
-- Ids of the tasks that wait for a topic.
SELECT json_group_array(id) FROM (
    SELECT id FROM tenuto_wait JOIN tenuto_task ON number = task WHERE topic = ?1 ORDER BY number
);

-- name: delete_wait
-- A topic has come.
DELETE FROM tenuto_wait WHERE topic = ?1 AND task = ?2;

-- name: delete_waits
-- A wait is over.
DELETE FROM tenuto_wait WHERE task = ?1;

-- name: inbox
-- Messages that were not consumed.
SELECT '[' || group_concat(message) || ']' FROM (
    SELECT '{"number":' || number || ',"kind":' || json_quote(kind) || ',"topic":' || json_quote(topic)
        || ',"data":' || data || ',"at":' || at || '}' AS message
    FROM tenuto_message INDEXED BY tenuto_message_inbox WHERE task = ?1 AND taken = 0 ORDER BY number
);

-- name: inbox_size
-- How many those are.
SELECT count(*) FROM tenuto_message INDEXED BY tenuto_message_inbox WHERE task = ?1 AND taken = 0;

-- name: steered
-- Whether one of those is steering, with a number above ?2.
SELECT EXISTS (
    SELECT 1 FROM tenuto_message INDEXED BY tenuto_message_inbox
    WHERE task = ?1 AND taken = 0 AND number > ?2 AND kind = 'steer'
);

-- name: message_key
-- Whether a message came under a key.
SELECT EXISTS (SELECT 1 FROM tenuto_message WHERE task = ?1 AND key = ?2);

-- name: last_message
-- The number of the latest message.
SELECT ifnull(max(number), 0) FROM tenuto_message WHERE task = ?1;

-- name: insert_message
-- A message.
INSERT INTO tenuto_message (task, number, kind, topic, data, at, key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7);

-- name: take_messages
-- Consumed messages leave the inbox; that they came under their keys is remembered.
UPDATE tenuto_message SET taken = 1, data = 'null'
WHERE task = ?1 AND taken = 0 AND number IN (SELECT value FROM json_each(?2));

-- name: steps
-- A journal: [[task, [value], step], ...].
SELECT '[' || group_concat('[' || task || ',[' || ifnull(value, '') || '],' || step || ']') || ']'
FROM (SELECT task, value, step FROM tenuto_step WHERE task = ?1 ORDER BY place);

-- name: steps_by_key
-- Those of some steps, given as [[task, key], ...], that are recorded.
SELECT '[' || group_concat('[' || known.task || ',[' || ifnull(known.value, '') || '],' || known.step || ']') || ']'
FROM json_each(?1) AS wanted
CROSS JOIN tenuto_step AS known ON known.task = wanted.value ->> 0 AND known.key = wanted.value ->> 1;

-- name: put_steps
-- Appends to journals; a step that is there is replaced in its place.
INSERT INTO tenuto_step (task, key, place, value, step)
SELECT
    column1, column2, column3 + ifnull((SELECT max(place) FROM tenuto_step WHERE task = column1), 0), column4, column5
FROM (VALUES (?, ?, ?, ?, ?), ...) WHERE true
ON CONFLICT (task, key) DO UPDATE SET value = excluded.value, step = excluded.step;

-- name: delete_step
-- Forgets one step.
DELETE FROM tenuto_step WHERE task = ?1 AND key = ?2;

-- name: delete_steps
-- Forgets a journal.
DELETE FROM tenuto_step WHERE task = ?1;
