-- name: tables_of_schema
-- Whatever lives in a schema, whoever may read it.
SELECT class.relname
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
WHERE space.nspname = %s AND class.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
ORDER BY class.relname;

-- name: schema_exists
-- CREATE SCHEMA IF NOT EXISTS asks for the right to create one even where there is nothing to create.
SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = %s;

-- name: tables_closed_to_us
-- Tables that this role cannot use as a store needs.
SELECT class.relname
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
WHERE space.nspname = %s AND class.relkind IN ('r', 'p') AND class.relname <> 'tenuto_migration'
AND NOT (
    has_table_privilege(class.oid, 'SELECT') AND has_table_privilege(class.oid, 'INSERT')
    AND has_table_privilege(class.oid, 'UPDATE') AND has_table_privilege(class.oid, 'DELETE')
)
ORDER BY class.relname;

-- name: migrations_applied
-- The number of the latest one.
SELECT coalesce(max(number), 0) FROM tenuto.tenuto_migration;

-- name: take_store_lock
-- Held until the transaction ends: whoever writes has it.
SELECT pg_advisory_xact_lock(%s);

-- name: wait_at_most
-- For locks, in this transaction.
SELECT set_config('lock_timeout', %s, true);

-- name: make_migrations
-- What was applied, when, and by which release.
CREATE TABLE tenuto.tenuto_migration (
    number integer PRIMARY KEY,
    release text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: note_migration
-- It was applied.
INSERT INTO tenuto.tenuto_migration (number, release) VALUES (%s, %s);

-- name: durability
-- What the server promises for a commit.
SELECT current_setting('fsync'), current_setting('synchronous_standby_names');
