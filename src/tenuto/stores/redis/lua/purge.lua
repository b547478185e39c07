-- needs: session, rows, indexes
-- Removes whole trees that are at rest, those first that ended first.
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: {before: by final state the instant before which the root ended,
-- most trees, about so many tasks}
-- Returns how many trees were removed, and whether it was worth stopping before there were no more.

local again = session.begin()
if again then
  return again
end
local request = cmsgpack.unpack(ARGV[4])

-- The tree that ended first; its place and the set that it stands in.
local function next_root()
  local best, place, set
  for status, before in pairs(request.before) do
    local key = session.key('ended:') .. status
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    local at = tonumber(first[2])
    if at and at < before and (not best or at < best or (at == best and first[1] < place)) then
      best, place, set = at, first[1], key
    end
  end
  return place, set
end

local function cursors_of(t)
  local parts = redis.call('LRANGE', session.key('cursors:') .. t.id, 0, -1)
  parts[#parts + 1] = t.cursors
  local ids = {}
  for _, part in ipairs(parts) do
    for cursor in part:gmatch('%d+') do
      ids[#ids + 1] = cursor .. '-0'
    end
  end
  return ids
end

local function remove(t)
  local id, key = t.id, session.key
  session.in_parts('XDEL', key('events'), cursors_of(t))
  session.move(key('tasks'), id, false)
  if t.kind == 'goal' then
    session.move(key('goals:') .. t.status, id, false)
  else
    session.move(key('agent:') .. t.agent .. ':' .. t.status, id, false)
  end
  if t.owner then
    session.move(key('owner:') .. t.owner, id, false)
  end
  for _, tag in ipairs(t.tags and cjson.decode(t.tags) or {}) do
    session.move(key('tag:') .. tag, id, false)
  end
  if t.unique then
    session.move(key('unique:') .. t.status .. ':' .. cjson.decode(t.unique).key, id, false)
  end
  redis.call(
    'DEL', rows.key(id), rows.lock(t), key('inbox:') .. id, key('heard:') .. id, key('journal:') .. id,
    key('children:') .. id, key('cursors:') .. id
  )
end

local function remove_tree(id)
  local root, key = rows.load(id), session.key
  local below = root.kids and redis.call('ZRANGE', key('tree:') .. id, 0, -1) or {}
  for _, each in ipairs(below) do
    remove(rows.load(each))
  end
  remove(root)
  local dag = key('dag:') .. id
  redis.call(
    'DEL', key('tree:') .. id, key('feed:') .. id, key('blobs:') .. id,
    dag .. ':nodes', dag .. ':deps', dag .. ':next', dag .. ':edges'
  )
  return 1 + #below
end

local trees, tasks, more = 0, 0, false
while trees < request.trees do
  if tasks >= request.tasks then
    more = true
    break
  end
  local place, set = next_root()
  if not place then
    break
  end
  redis.call('ZREM', set, place)
  tasks = tasks + remove_tree(place:sub(18))
  trees = trees + 1
end
session.write_moves()
for _, agent in ipairs(trees > 0 and redis.call('SMEMBERS', session.key('agents')) or {}) do
  local left = 0
  for status in ('blocked ready scheduled active waiting done failed cancelled'):gmatch('%S+') do
    left = left + redis.call('EXISTS', session.key('agent:') .. agent .. ':' .. status)
  end
  if left == 0 then
    redis.call('SREM', session.key('agents'), agent)
  end
end
return session.finish({ trees, more })
