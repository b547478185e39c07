-- name: header
-- Where numbers, cursors and the clock stand.
SELECT
    max(number, coalesce((SELECT max(number) FROM tenuto_task), 0)),
    max(cursor, coalesce((SELECT max(cursor) FROM tenuto_event), 0)),
    max(clock, coalesce((SELECT at FROM tenuto_event ORDER BY cursor DESC LIMIT 1), 0))
FROM tenuto_meta;

-- name: raise_floor
-- Before rows are removed: what they used up is never used again.
UPDATE tenuto_meta SET number = ?1, cursor = ?2, clock = ?3;
