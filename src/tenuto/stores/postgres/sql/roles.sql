-- What the role of everyday work may do, here `tenuto_worker`: read and write rows of the store's tables. It creates,
-- changes and drops nothing. To be run by the role that owns the schema, the one that migrates; `tenuto store grant`
-- does it. The role itself is made by an administrator:
--
--     CREATE ROLE tenuto_worker LOGIN PASSWORD '...';

GRANT USAGE ON SCHEMA tenuto TO tenuto_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tenuto TO tenuto_worker;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA tenuto TO tenuto_worker;
REVOKE INSERT, UPDATE, DELETE ON tenuto.tenuto_migration FROM tenuto_worker;

-- The same for tables that later migrations make.
ALTER DEFAULT PRIVILEGES IN SCHEMA tenuto GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO tenuto_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA tenuto GRANT USAGE, SELECT ON SEQUENCES TO tenuto_worker;
