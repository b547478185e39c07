-- The least that a queue can do: one table, no events, no leases, no order but age.

-- name: schema
CREATE TABLE job (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text NOT NULL UNIQUE,
  state smallint NOT NULL DEFAULT 0,
  payload text NOT NULL,
  result text
) WITH (fillfactor = 70);
CREATE INDEX waiting ON job (number) WHERE state = 0;

-- name: insert
INSERT INTO job (id, payload) SELECT * FROM unnest(%(ids)s::text[], %(payloads)s::text[]);

-- name: copy
COPY job (id, payload) FROM STDIN

-- name: exchange
WITH finished AS (
  UPDATE job SET state = 2, result = given.result
  FROM unnest(%(numbers)s::bigint[], %(results)s::text[]) AS given (number, result)
  WHERE job.number = given.number
),
picked AS MATERIALIZED (
  SELECT number FROM job WHERE state = 0 ORDER BY number LIMIT %(want)s FOR UPDATE SKIP LOCKED
)
UPDATE job SET state = 1 FROM picked WHERE job.number = picked.number
RETURNING job.number, job.payload;
