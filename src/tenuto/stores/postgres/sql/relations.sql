-- Keys, edges, waits, inboxes and journals: what lies around tasks.

-- name: key
-- The id of the task that was submitted under an idempotency key.
SELECT task FROM tenuto.key WHERE owner = $1::text AND key = $2::text;

-- name: insert_keys
-- Remembers idempotency keys.
INSERT INTO tenuto.key (owner, key, task, at) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]);

-- name: drop_keys
-- Forgets old keys.
DELETE FROM tenuto.key USING (
    SELECT owner, key FROM tenuto.key WHERE at < $1::bigint ORDER BY at LIMIT $2::bigint
) AS old WHERE key.owner = old.owner AND key.key = old.key;

-- name: unique_holder
-- The oldest task with a unique key that is in one of some states.
SELECT id FROM tenuto.spec JOIN tenuto.task ON task.number = spec.number
WHERE unique_key = $1::text AND id <> $3::text
    AND state = ANY (ARRAY(SELECT json_array_elements_text($2::json)::smallint))
ORDER BY spec.number LIMIT 1;

-- name: insert_links
-- Edges of a goal, in order.
INSERT INTO tenuto.link (goal, source, target, fires)
SELECT goal, source, target, fires
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS new (goal, source, target, fires, place)
ORDER BY place;

-- name: links_of_goal
-- Edges of a goal.
SELECT coalesce(json_agg(json_build_array(source, target, fires) ORDER BY number), '[]')::text
FROM tenuto.link WHERE goal = $1::text;

-- name: links_from
-- Out-edges of a node.
SELECT coalesce(json_agg(json_build_array(source, target, fires) ORDER BY number), '[]')::text
FROM tenuto.link WHERE source = $1::text;

-- name: links_to
-- In-edges of a node.
SELECT coalesce(json_agg(json_build_array(source, target, fires) ORDER BY number), '[]')::text
FROM tenuto.link WHERE target = $1::text;

-- name: insert_waits
-- Topics that tasks wait for.
INSERT INTO tenuto.wait (topic, task) SELECT * FROM unnest($1::text[], $2::bigint[]) ON CONFLICT DO NOTHING;

-- name: waiting_for
-- Ids of the tasks that wait for a topic.
SELECT coalesce(json_agg(id ORDER BY number), '[]')::text
FROM tenuto.wait JOIN tenuto.spec ON spec.number = wait.task WHERE topic = $1::text;

-- name: delete_wait
-- A topic has come.
DELETE FROM tenuto.wait WHERE topic = $1::text AND task = $2::bigint;

-- name: delete_waits
-- A wait is over.
DELETE FROM tenuto.wait WHERE task = $1::bigint;

-- name: inbox
-- Messages that were not consumed.
SELECT '[' || string_agg(
    concat(
        '{"number":', number, ',"kind":', to_json(kind), ',"topic":', to_json(topic), ',"data":', data, ',"at":', at, '}'
    ), ',' ORDER BY number
) || ']' FROM tenuto.message WHERE task = $1::bigint AND NOT taken;

-- name: inbox_size
-- How many those are.
SELECT count(*) FROM tenuto.message WHERE task = $1::bigint AND NOT taken;

-- name: steered
-- Whether one of those is steering, with a number above $2.
SELECT EXISTS (
    SELECT 1 FROM tenuto.message WHERE task = $1::bigint AND NOT taken AND number > $2::bigint AND kind = 'steer'
);

-- name: message_key
-- Whether a message came under a key.
SELECT EXISTS (SELECT 1 FROM tenuto.message WHERE task = $1::bigint AND key = $2::text);

-- name: last_message
-- The number of the latest message.
SELECT coalesce(max(number), 0) FROM tenuto.message WHERE task = $1::bigint;

-- name: insert_message
-- A message.
INSERT INTO tenuto.message (task, number, kind, topic, data, at, key)
VALUES ($1::bigint, $2::bigint, $3::text, $4::text, $5::text, $6::bigint, $7::text);

-- name: take_messages
-- Consumed messages leave the inbox; that they came under their keys is remembered.
UPDATE tenuto.message SET taken = true, data = 'null'
WHERE task = $1::bigint AND NOT taken AND number = ANY (ARRAY(SELECT json_array_elements_text($2::json)::bigint));

-- name: steps
-- A journal: [[task, [value], step], ...].
SELECT '[' || string_agg(concat('[', task, ',[', value, '],', step, ']'), ',' ORDER BY place) || ']'
FROM tenuto.step WHERE task = $1::bigint;

-- name: steps_by_key
-- Those of some steps, given as [[task, key], ...], that are recorded.
SELECT '[' || string_agg(concat('[', known.task, ',[', known.value, '],', known.step, ']'), ',') || ']'
FROM json_array_elements($1::json) AS wanted (pair)
JOIN tenuto.step AS known ON known.task = (wanted.pair ->> 0)::bigint AND known.key = wanted.pair ->> 1;

-- name: put_steps
-- Appends to journals; a step that is there is replaced in its place.
INSERT INTO tenuto.step (task, key, place, value, step)
SELECT
    task, key, place + coalesce((SELECT max(known.place) FROM tenuto.step AS known WHERE known.task = new.task), 0),
    value, step
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[]) AS new (task, key, place, value, step)
ON CONFLICT (task, key) DO UPDATE SET value = excluded.value, step = excluded.step;

-- name: delete_step
-- Forgets one step.
DELETE FROM tenuto.step WHERE task = $1::bigint AND key = $2::text;

-- name: delete_steps
-- Forgets a journal.
DELETE FROM tenuto.step WHERE task = $1::bigint;
