-- A part of a list of tasks, newest first.
--
-- KEYS[1]  <prefix>store   ARGV[1]  {before: numbers below it, limit, most: tasks to look at, and the filters: states,
-- agent, owner, root, parent, tag, kind, roots_only}, as msgpack
-- It goes through the sorted sets (pieces/indexes.lua) of the narrowest filter, and looks at each task for the others.
-- Returns the number from which to go on, empty at the end; then of each task that matches
-- its id, its number, and its fields and values.

local prefix, where = KEYS[1]:sub(1, -6), cmsgpack.unpack(ARGV[1])

local STATES = { 'blocked', 'ready', 'scheduled', 'running', 'waiting', 'done', 'failed', 'cancelled' }

local function key(id)
  return prefix .. 'task:' .. id .. (id:find(':lock:*$') and ':' or '')
end

local function lists_of(agent, states, keys)
  for _, state in ipairs(states) do
    local list = prefix .. 'agent:' .. agent
    keys[#keys + 1] = state == 'running' and { running = list .. ':active' } or list .. ':' .. state
  end
end

local function sources()
  local states = where.states or STATES
  if where.parent then
    return { prefix .. 'children:' .. where.parent }
  elseif where.root then
    return { prefix .. 'tree:' .. where.root }
  elseif where.tag then
    return { prefix .. 'tag:' .. where.tag }
  end
  local keys = {}
  if where.agent then
    lists_of(where.agent, states, keys)
  elseif where.owner and where.owner ~= '' then
    keys[1] = prefix .. 'owner:' .. where.owner
  elseif where.states or where.kind == 'goal' then
    for _, state in ipairs(states) do
      keys[#keys + 1] = prefix .. 'goals:' .. state
    end
    for _, agent in ipairs(where.kind == 'goal' and {} or redis.call('SMEMBERS', prefix .. 'agents')) do
      lists_of(agent, states, keys)
    end
  else
    keys[1] = prefix .. 'tasks'
  end
  return keys
end

local wanted = {}
for _, state in ipairs(where.states or STATES) do
  wanted[state] = true
end

local function matches(id, flat)
  local t = {}
  for at = 1, #flat, 2 do
    t[flat[at]] = flat[at + 1] ~= '' and flat[at + 1] or nil
  end
  if where.tag then
    local tagged = false
    for _, tag in ipairs(t.tags and cjson.decode(t.tags) or {}) do
      tagged = tagged or tag == where.tag
    end
    if not tagged then
      return false
    end
  end
  return wanted[t.status]
    and (not where.agent or t.agent == where.agent)
    and (not where.owner or (t.owner or '') == where.owner)
    and (not where.root or (t.root or id) == where.root)
    and (not where.parent or (t.goal or t.parent) == where.parent)
    and (not where.kind or (t.kind or 'task') == where.kind)
    and (not where.roots_only or not t.root)
end

local function number_of(id)
  return tonumber((redis.call('HGET', key(id), 'trail') or ''):match('^%d+'))
end

-- Running tasks stand in the order of their leases, and there are no more of them than workers have slots.
local function add_running(list, found)
  for _, id in ipairs(redis.call('ZRANGE', list, 0, -1)) do
    local number = number_of(id)
    if number and (not where.before or number < where.before) then
      found[#found + 1] = { id, number }
    end
  end
end

-- The newest `most` of all sources: {id, number}.
local function newest(keys, most)
  local found = {}
  local below = where.before and '(' .. string.format('%.0f', where.before) or '+inf'
  for _, source in ipairs(keys) do
    if source.running then
      add_running(source.running, found)
    else
      local flat = redis.call('ZREVRANGEBYSCORE', source, below, '-inf', 'WITHSCORES', 'LIMIT', 0, most)
      for at = 1, #flat, 2 do
        found[#found + 1] = { flat[at], tonumber(flat[at + 1]) }
      end
    end
  end
  if where.root and not where.parent then -- the root stands in no list of its tree
    local number = number_of(where.root)
    if number and (not where.before or number < where.before) then
      found[#found + 1] = { where.root, number }
    end
  end
  if #keys > 1 or where.root or keys[1].running then
    table.sort(found, function(one, other) return one[2] > other[2] end)
  end
  return found
end

local answer = { '' }
local most = math.min(where.most, 2 * where.limit + 50)
local looked_at = newest(sources(), most)
for at, each in ipairs(looked_at) do
  if at > most or #answer > where.limit then
    break
  end
  local flat = redis.call('HGETALL', key(each[1]))
  if matches(each[1], flat) then
    answer[#answer + 1] = { each[1], string.format('%.0f', each[2]), flat }
  end
  if #answer > where.limit or at == most then
    answer[1] = string.format('%.0f', each[2])
  end
end
return answer
