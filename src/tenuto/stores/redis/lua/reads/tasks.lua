-- Tasks by id.
--
-- KEYS[1]  <prefix>store   ARGV  ids
-- Returns for each the fields and values of `task:<id>` in turns, none where there is no such task.

local prefix, rows = KEYS[1]:sub(1, -6), {}
for at, id in ipairs(ARGV) do
  rows[at] = redis.call('HGETALL', prefix .. 'task:' .. id .. (id:find(':lock:*$') and ':' or ''))
end
return rows
