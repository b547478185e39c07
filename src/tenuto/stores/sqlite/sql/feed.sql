-- name: insert_events
-- Appends to the feed.
INSERT INTO tenuto_event (cursor, task, tree, seq, kind, at, attempt, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?), ...;

-- name: events
-- The feed after a cursor (?1): of an owner (?2, or null), of some kinds (?3, or null).
SELECT '[' || group_concat(event) || ']' FROM (
    SELECT '{"task_id":' || json_quote(id) || ',"seq":' || seq || ',"kind":' || json_quote(kind) || ',"at":' || at
        || ',"attempt":' || attempt || ',"data":' || ifnull(data, '{}') || ',"owner":' || json_quote(owner)
        || ',"cursor":"' || cursor || '"}' AS event
    FROM tenuto_event
    CROSS JOIN tenuto_task ON tenuto_task.number = task
    CROSS JOIN tenuto_lane USING (lane)
    WHERE cursor > ?1 AND (?2 IS NULL OR owner = ?2)
        AND (?3 IS NULL OR kind IN (SELECT value FROM json_each(?3)))
    ORDER BY cursor LIMIT ?4
);

-- name: events_of_task
-- The same of one task (?5).
SELECT '[' || group_concat(event) || ']' FROM (
    SELECT '{"task_id":' || json_quote(id) || ',"seq":' || seq || ',"kind":' || json_quote(kind) || ',"at":' || at
        || ',"attempt":' || attempt || ',"data":' || ifnull(data, '{}') || ',"owner":' || json_quote(owner)
        || ',"cursor":"' || cursor || '"}' AS event
    FROM tenuto_event INDEXED BY tenuto_event_task
    CROSS JOIN tenuto_task ON tenuto_task.number = task
    CROSS JOIN tenuto_lane USING (lane)
    WHERE task = (SELECT number FROM tenuto_task WHERE id = ?5) AND cursor > ?1 AND (?2 IS NULL OR owner = ?2)
        AND (?3 IS NULL OR kind IN (SELECT value FROM json_each(?3)))
    ORDER BY cursor LIMIT ?4
);

-- name: events_of_tree
-- The same of a tree, given the id of its root (?5).
SELECT '[' || group_concat(event) || ']' FROM (
    SELECT cursor, '{"task_id":' || json_quote(id) || ',"seq":' || seq || ',"kind":' || json_quote(kind) || ',"at":' || at
        || ',"attempt":' || attempt || ',"data":' || ifnull(data, '{}') || ',"owner":' || json_quote(owner)
        || ',"cursor":"' || cursor || '"}' AS event
    FROM tenuto_event INDEXED BY tenuto_event_task
    CROSS JOIN tenuto_task ON tenuto_task.number = task
    CROSS JOIN tenuto_lane USING (lane)
    WHERE task = (SELECT number FROM tenuto_task WHERE id = ?5 AND root IS NULL) AND cursor > ?1
        AND (?2 IS NULL OR owner = ?2) AND (?3 IS NULL OR kind IN (SELECT value FROM json_each(?3)))
    UNION ALL
    SELECT cursor, '{"task_id":' || json_quote(id) || ',"seq":' || seq || ',"kind":' || json_quote(kind) || ',"at":' || at
        || ',"attempt":' || attempt || ',"data":' || ifnull(data, '{}') || ',"owner":' || json_quote(owner)
        || ',"cursor":"' || cursor || '"}' AS event
    FROM tenuto_event INDEXED BY tenuto_event_tree
    CROSS JOIN tenuto_task ON tenuto_task.number = task
    CROSS JOIN tenuto_lane USING (lane)
    WHERE tree = (SELECT number FROM tenuto_task WHERE id = ?5) AND cursor > ?1
        AND (?2 IS NULL OR owner = ?2) AND (?3 IS NULL OR kind IN (SELECT value FROM json_each(?3)))
    ORDER BY cursor LIMIT ?4
);

-- name: ended_roots
-- Roots that ended in state ?1 before ?2, and whose tree is over; [finished, number, id] each.
SELECT json_group_array(json_array(finished, number, id)) FROM (
    SELECT finished, number, id FROM tenuto_task AS root
    WHERE state = ?1 AND state >= 6 AND root IS NULL AND finished < ?2 AND due IS NULL
        AND NOT EXISTS (
            SELECT 1 FROM tenuto_task AS member
            WHERE member.root = root.number AND (member.state < 6 OR member.due IS NOT NULL)
        )
    ORDER BY finished, number LIMIT ?3
);

-- name: tree
-- Numbers and ids of the tasks of some trees, given the ids of their roots.
SELECT json_group_array(json_array(number, id)) FROM (
    SELECT number, id FROM tenuto_task WHERE id IN (SELECT value FROM json_each(?1))
    UNION ALL
    SELECT number, id FROM tenuto_task WHERE root IN (
        SELECT number FROM tenuto_task WHERE id IN (SELECT value FROM json_each(?1))
    )
);

-- name: purge_events
-- Of some tasks, given their numbers.
DELETE FROM tenuto_event WHERE task IN (SELECT value FROM json_each(?1));

-- name: purge_steps
-- Of some tasks, given their numbers.
DELETE FROM tenuto_step WHERE task IN (SELECT value FROM json_each(?1));

-- name: purge_messages
-- Of some tasks, given their numbers.
DELETE FROM tenuto_message WHERE task IN (SELECT value FROM json_each(?1));

-- name: purge_waits
-- Of some tasks, given their numbers.
DELETE FROM tenuto_wait WHERE task IN (SELECT value FROM json_each(?1));

-- name: purge_tags
-- Of some tasks, given their numbers.
DELETE FROM tenuto_tag WHERE task IN (SELECT value FROM json_each(?1));

-- name: purge_specs
-- Of some tasks, given their numbers.
DELETE FROM tenuto_spec WHERE number IN (SELECT value FROM json_each(?1));

-- name: purge_tasks
-- Some tasks, given their numbers.
DELETE FROM tenuto_task WHERE number IN (SELECT value FROM json_each(?1));

-- name: purge_links
-- Of some goals, given their ids.
DELETE FROM tenuto_link WHERE goal IN (SELECT value FROM json_each(?1));

-- name: purge_blobs
-- Of some trees, given the ids of their roots.
DELETE FROM tenuto_blob WHERE root IN (SELECT value FROM json_each(?1));
