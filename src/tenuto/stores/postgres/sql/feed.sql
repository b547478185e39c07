-- The feed, and purging.

-- name: insert_events
-- Appends to the feed.
INSERT INTO tenuto.event (cursor, task, tree, seq, kind, at, attempt, data)
SELECT * FROM unnest(
    $1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[], $8::text[]
) AS new
WHERE current_setting('tenuto.stands')::boolean;

-- name: events
-- The feed after a cursor ($1): of an owner ($2, or null), of some kinds ($3, or null).
SELECT '[' || string_agg(
    concat(
        '{"task_id":', to_json(id), ',"seq":', seq, ',"kind":', to_json(kind), ',"at":', at, ',"attempt":', attempt,
        ',"data":', coalesce(data, '{}'), ',"owner":', to_json(owner), ',"cursor":"', cursor, '"}'
    ), ',' ORDER BY cursor
) || ']' FROM (
    SELECT event.*, id, owner
    FROM tenuto.event JOIN tenuto.spec ON spec.number = event.task JOIN tenuto.lane ON lane.lane = spec.lane
    WHERE cursor > $1::bigint AND ($2::text IS NULL OR owner = $2::text)
    AND ($3::json IS NULL OR kind = ANY (ARRAY(SELECT json_array_elements_text($3::json))))
    ORDER BY cursor LIMIT $4::bigint
) AS found;

-- name: events_of_task
-- The same of one task ($5).
SELECT '[' || string_agg(
    concat(
        '{"task_id":', to_json(id), ',"seq":', seq, ',"kind":', to_json(kind), ',"at":', at, ',"attempt":', attempt,
        ',"data":', coalesce(data, '{}'), ',"owner":', to_json(owner), ',"cursor":"', cursor, '"}'
    ), ',' ORDER BY cursor
) || ']' FROM (
    SELECT event.*, id, owner
    FROM tenuto.spec JOIN tenuto.lane ON lane.lane = spec.lane JOIN tenuto.event ON event.task = spec.number
    WHERE id = $5::text AND cursor > $1::bigint AND ($2::text IS NULL OR owner = $2::text)
    AND ($3::json IS NULL OR kind = ANY (ARRAY(SELECT json_array_elements_text($3::json))))
    ORDER BY cursor LIMIT $4::bigint
) AS found;

-- name: events_of_tree
-- The same of a tree, given the id of its root ($5).
SELECT '[' || string_agg(
    concat(
        '{"task_id":', to_json(id), ',"seq":', seq, ',"kind":', to_json(kind), ',"at":', at, ',"attempt":', attempt,
        ',"data":', coalesce(data, '{}'), ',"owner":', to_json(owner), ',"cursor":"', cursor, '"}'
    ), ',' ORDER BY cursor
) || ']' FROM (
    SELECT found.*, id, owner FROM (
        (
            SELECT event.* FROM tenuto.event
            WHERE task = (SELECT number FROM tenuto.spec WHERE id = $5::text AND root IS NULL) AND cursor > $1::bigint
        )
        UNION ALL
        (
            SELECT event.* FROM tenuto.event
            WHERE tree = (SELECT number FROM tenuto.spec WHERE id = $5::text) AND cursor > $1::bigint
        )
    ) AS found JOIN tenuto.spec ON spec.number = found.task JOIN tenuto.lane ON lane.lane = spec.lane
    WHERE ($2::text IS NULL OR owner = $2::text)
    AND ($3::json IS NULL OR kind = ANY (ARRAY(SELECT json_array_elements_text($3::json))))
    ORDER BY cursor LIMIT $4::bigint
) AS found;

-- name: ended_roots
-- Roots that ended in state $1 before $2, and whose tree is over; [finished, number, id] each.
SELECT coalesce(json_agg(json_build_array(finished, number, id)), '[]')::text FROM (
    SELECT top.finished, top.number, spec.id FROM tenuto.task AS top JOIN tenuto.spec ON spec.number = top.number
    WHERE top.state = $1::bigint AND top.state >= 6 AND top.tops AND top.finished < $2::bigint AND top.due IS NULL
        AND NOT EXISTS (
            SELECT 1 FROM tenuto.spec AS member JOIN tenuto.task AS part ON part.number = member.number
            WHERE member.root = top.number AND (part.state < 6 OR part.due IS NOT NULL)
        )
    ORDER BY top.finished, top.number LIMIT $3::bigint
) AS found;

-- name: tree
-- Numbers and ids of the tasks of some trees, given the ids of their roots.
WITH root AS MATERIALIZED (
    SELECT number, id FROM tenuto.spec WHERE id = ANY (ARRAY(SELECT json_array_elements_text($1::json)))
)
SELECT coalesce(json_agg(json_build_array(number, id)), '[]')::text FROM (
    SELECT number, id FROM root
    UNION ALL
    SELECT member.number, member.id FROM root JOIN tenuto.spec AS member ON member.root = root.number
) AS members;

-- name: purge_events
-- Of some tasks, given their numbers.
DELETE FROM tenuto.event WHERE task = ANY (ARRAY(SELECT json_array_elements_text($1::json)::bigint));

-- name: purge_steps
-- Of some tasks, given their numbers.
DELETE FROM tenuto.step WHERE task = ANY (ARRAY(SELECT json_array_elements_text($1::json)::bigint));

-- name: purge_messages
-- Of some tasks, given their numbers.
DELETE FROM tenuto.message WHERE task = ANY (ARRAY(SELECT json_array_elements_text($1::json)::bigint));

-- name: purge_waits
-- Of some tasks, given their numbers.
DELETE FROM tenuto.wait WHERE task = ANY (ARRAY(SELECT json_array_elements_text($1::json)::bigint));

-- name: purge_tags
-- Of some tasks, given their numbers.
DELETE FROM tenuto.tag WHERE task = ANY (ARRAY(SELECT json_array_elements_text($1::json)::bigint));

-- name: purge_specs
-- Of some tasks, given their numbers.
DELETE FROM tenuto.spec WHERE number = ANY (ARRAY(SELECT json_array_elements_text($1::json)::bigint));

-- name: purge_tasks
-- Of some tasks, given their numbers.
DELETE FROM tenuto.task WHERE number = ANY (ARRAY(SELECT json_array_elements_text($1::json)::bigint));

-- name: purge_links
-- Of some goals, given the ids of their roots.
DELETE FROM tenuto.link WHERE goal = ANY (ARRAY(SELECT json_array_elements_text($1::json)));

-- name: purge_blobs
-- Of some trees, given the ids of their roots.
DELETE FROM tenuto.blob WHERE root = ANY (ARRAY(SELECT json_array_elements_text($1::json)));
