-- name: send_hints
-- Nobody waits for it to reach the disk: a hint that a crash swallows is only a hint.
SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, payload)
FROM unnest(%s::text[]) AS payload;

-- name: notify
-- In the transaction that the hints tell of: they are heard when it has committed.
SELECT pg_notify($1::text, payload) FROM unnest($2::text[]) AS payload
WHERE current_setting('tenuto.stands')::boolean;

-- name: own_backend
-- The server process behind this connection.
SELECT pg_backend_pid();
