-- What a task needs before it can go on.
--
-- KEYS[1]  <prefix>store   ARGV[1]  id
-- Returns its fields and values; then for a goal its unfinished nodes, for a blocked task the tasks it depends on that
-- did not end as it needs, each with its state; then for a task behind a limit the fields of that one.

local prefix, id = KEYS[1]:sub(1, -6), ARGV[1]

local function key(of)
  return prefix .. 'task:' .. of .. (of:find(':lock:*$') and ':' or '')
end

local flat = redis.call('HGETALL', key(id))
local t = {}
for at = 1, #flat, 2 do
  t[flat[at]] = flat[at + 1] ~= '' and flat[at + 1] or nil
end

local FINAL = { done = true, failed = true, cancelled = true }

local function unfinished()
  local found = {}
  for _, node in ipairs(redis.call('ZRANGE', prefix .. 'children:' .. id, 0, -1)) do
    local known = redis.call('HMGET', key(node), 'node', 'status')
    if not FINAL[known[2]] then
      found[#found + 1] = { known[1] or node, known[2] }
    end
  end
  return found
end

local function unmet()
  local dag, found = prefix .. 'dag:' .. t.goal, {}
  for _, each in ipairs(cjson.decode(redis.call('HGET', dag .. ':deps', t.node) or '[]')) do
    local source, when = each, 'done'
    if type(each) == 'table' then
      source, when = each.node, each.when
    end
    local task = cjson.decode(redis.call('HGET', dag .. ':nodes', source)).task
    local status = redis.call('HGET', key(task), 'status')
    if not FINAL[status] or (when ~= 'finished' and when ~= status) then
      found[#found + 1] = { source, status }
    end
  end
  return found
end

local needs, gate = {}, {}
if t.kind == 'goal' then
  needs = unfinished()
elseif t.status == 'blocked' then
  needs = unmet()
elseif t.status == 'ready' and t.gate then
  gate = redis.call('HMGET', prefix .. 'limit:' .. t.gate, 'concurrency', 'rate', 'period', 'burst', 'used', 'tat')
  table.insert(gate, 1, t.gate)
end
return { flat, needs, gate }
