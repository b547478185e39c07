-- What callers submit inside their own transactions. A row appears when, and only when, the caller commits; the next
-- transaction of the store admits it, by the ordinary rule, and removes it.

CREATE TABLE tenuto.arrival (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),     -- whose it is; those below all running ones are looked at once
    trees text NOT NULL,                                -- JSON
    trouble text                                        -- why it cannot be read; it is left for a person to look at
) WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX arrival_xid ON tenuto.arrival (xid, number) WHERE trouble IS NULL;
