-- The bare engine: stores results, claims the next tasks under a lease, and tells of both, in one statement.

-- name: schema
CREATE TABLE task (
  number bigint PRIMARY KEY,
  id text NOT NULL UNIQUE,
  agent text NOT NULL,
  state smallint NOT NULL DEFAULT 1,
  attempt int NOT NULL DEFAULT 0,
  nonce bigint,
  lease_until bigint,
  payload text NOT NULL,
  result text
) WITH (fillfactor = 70);
CREATE INDEX ready ON task (agent, number) WHERE state = 1;
CREATE TABLE event (
  cursor bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  task bigint NOT NULL,
  seq smallint NOT NULL,
  kind text NOT NULL,
  at bigint NOT NULL,
  data text
);
CREATE INDEX event_of ON event (task, seq);

-- name: insert
INSERT INTO task (number, id, agent, payload)
SELECT number, id, 'bench', %(payload)s FROM unnest(%(numbers)s::bigint[], %(ids)s::text[]) AS given (number, id);

-- name: exchange
WITH given AS MATERIALIZED (
  SELECT * FROM unnest(%(numbers)s::bigint[], %(nonces)s::bigint[], %(results)s::text[]) AS given (number, nonce, result)
),
finished AS (
  UPDATE task SET state = 3, result = given.result, lease_until = NULL FROM given
  WHERE task.number = given.number AND task.nonce = given.nonce AND task.state = 2
  RETURNING task.number
),
picked AS MATERIALIZED (
  SELECT number FROM task WHERE agent = 'bench' AND state = 1 ORDER BY number LIMIT %(want)s FOR UPDATE SKIP LOCKED
),
claimed AS (
  UPDATE task SET state = 2, attempt = attempt + 1, nonce = %(nonce)s, lease_until = %(now)s + 30000 FROM picked
  WHERE task.number = picked.number
  RETURNING task.number, task.id, task.payload
),
told AS (
  INSERT INTO event (task, seq, kind, at, data)
  SELECT number, 2, 'done', %(now)s, NULL FROM finished
  UNION ALL
  SELECT number, 1, 'started', %(now)s, '{"worker":"w"}' FROM claimed
)
SELECT number, id, payload FROM claimed;

-- name: done
SELECT count(*) FROM task WHERE state = 3;
