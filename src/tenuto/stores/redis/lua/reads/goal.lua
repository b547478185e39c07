-- A goal, its nodes in the order of submission, and its edges.
--
-- KEYS[1]  <prefix>store   ARGV[1]  id of the goal   ARGV[2]  the most nodes that are read at once
-- Returns the fields and values of the goal, its edges (pieces/ends.lua), the ids of its nodes, and the fields and
-- values of the first of them.

local prefix, id = KEYS[1]:sub(1, -6), ARGV[1]

local function row(of)
  return redis.call('HGETALL', prefix .. 'task:' .. of .. (of:find(':lock:*$') and ':' or ''))
end

local ids, rows = redis.call('ZRANGE', prefix .. 'children:' .. id, 0, -1), {}
for at = 1, math.min(#ids, tonumber(ARGV[2])) do
  rows[at] = row(ids[at])
end
return { row(id), redis.call('GET', prefix .. 'dag:' .. id .. ':edges') or '[]', ids, rows }
