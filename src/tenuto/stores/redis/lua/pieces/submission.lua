-- Submitting trees (`rules/submit.py`).
--
--   keys       hash: [owner, idempotency key] as JSON -> [id, instant] as JSON
--   keys:age   sorted set: the fields of `keys`, oldest first

submission = {}

local ONE_PART = 150 -- tasks of which one has the weight

-- The oldest task but one that holds a unique key in one of the states.
function submission.unique_holder(key, states, but)
  rows.write()
  local best, holder = math.huge, nil
  for _, status in ipairs(states) do
    local flat = redis.call('ZRANGE', session.key('unique:') .. status .. ':' .. key, 0, 1, 'WITHSCORES')
    for at = 1, #flat, 2 do
      if flat[at] ~= but and tonumber(flat[at + 1]) < best then
        best, holder = tonumber(flat[at + 1]), flat[at]
      end
    end
  end
  return holder
end

-- Defines or replaces a limit: key, concurrency, rate, period, burst (false for none).
function submission.define(limit)
  local usage = limits.usage(limit[1])
  local same = usage.defined
    and (usage.concurrency or false) == limit[2]
    and (usage.rate or false) == limit[3]
    and usage.period == limit[4]
    and usage.burst == limit[5]
  if not same then
    limits.set(usage, { concurrency = limit[2], rate = limit[3], period = limit[4], burst = limit[5] })
    limits.reopen(limit[1])
  end
end

local function remember(owner, key, id)
  local field = cjson.encode({ owner, key })
  redis.call('HSET', session.key('keys'), field, '[' .. events.quote(id) .. ',' .. session.whole(session.now) .. ']')
  redis.call('ZADD', session.key('keys:age'), session.submitted, field)
end

-- The task ids of nodes that are stored, in their order. `ids`: those that this script has stored.
local function ids_of(goal, names, ids)
  local found, missing = {}, {}
  for at, name in ipairs(names) do
    found[at] = ids[name]
    missing[#missing + 1] = not ids[name] and name or nil
  end
  if missing[1] then
    for at, text in ipairs(redis.call('HMGET', session.key('dag:') .. goal .. ':nodes', unpack(missing))) do
      ids[missing[at]] = cjson.decode(text).task
    end
    return ids_of(goal, names, ids)
  end
  return found
end

-- A node gets its own id as that of its task, unless that is taken.
local function store_nodes(goal, nodes, ids)
  local named = {}
  for _, node in ipairs(nodes) do
    local name, agent, unmet, fields = unpack(node)
    local id = rows.exists(name) and goal .. '.' .. name or name
    ids[name] = id
    admission.admit(id, fields, { root = goal, goal = goal, node = name }, unmet)
    named[#named + 1] = name
    named[#named + 1] = '{"task":' .. events.quote(id) .. ',"agent":' .. events.quote(agent) .. '}'
  end
  session.in_parts('HSET', session.key('dag:') .. goal .. ':nodes', named)
end

local function store_links(goal, links, ids)
  local following = {}
  for _, entry in ipairs(links) do
    local names, told = {}, {}
    for at, link in ipairs(entry[2]) do
      names[at] = link[1]
    end
    for at, id in ipairs(ids_of(goal, names, ids)) do
      told[at] = { id, entry[2][at][2] }
    end
    following[#following + 1] = entry[1]
    following[#following + 1] = cjson.encode(told)
  end
  session.in_parts('HSET', session.key('dag:') .. goal .. ':next', following)
end

-- Stores nodes and edges of a goal, as far as they are in `part`: see `trees.parts_of`.
local function store(goal, part, ids)
  if part.nodes then
    store_nodes(goal, part.nodes, ids)
  end
  if part.links then
    store_links(goal, part.links, ids)
  end
  if part.deps then
    session.in_parts('HSET', session.key('dag:') .. goal .. ':deps', part.deps)
    redis.call('SET', session.key('dag:') .. goal .. ':edges', part.edges)
  end
end

-- Stores parts of a goal that were sent ahead, as far as this script may; whether these were all.
function submission.arrive(item)
  local key = session.key('arriving:') .. item.goal
  while item.part <= item.parts and walks.room() > 0 do
    store(item.goal, cmsgpack.unpack(redis.call('HGET', key, item.part)), {})
    walks.spend(ONE_PART)
    item.part = item.part + 1
  end
  if item.part <= item.parts then
    return false
  end
  redis.call('UNLINK', key)
  return true
end

local function create_goal(tree)
  local goal, ids = tree.id, {}
  admission.admit(goal, tree.fields, { kind = 'goal', kids = '1' }, tree.size)
  if tree.staged then
    local key = session.key('arriving:') .. goal
    redis.call('RENAME', session.key('staged:') .. tree.staged, key)
    redis.call('PERSIST', key)
    walks.begin(goal, { { act = 'arrive', goal = goal, part = 1, parts = tree.parts } })
  else
    store(goal, tree, ids)
  end
  return { 'created', goal, ids }
end

local function create(tree)
  for _, limit in ipairs(tree.limits or {}) do
    submission.define(limit)
  end
  admission.put_blobs(tree.id, tree.blobs)
  if tree.key then
    remember(tree.owner, tree.key, tree.id)
  end
  if tree.size then
    return create_goal(tree)
  end
  admission.admit(tree.id, tree.fields, {}, 0)
  return { 'created', tree.id }
end

-- Stores a tree: what became of it, the id of its root, and of a new goal task ids by node, unless it was too large for
-- one script. "busy": one of that id is being removed; "again": its parts are not there. "taken": the id is there,
-- "keyed": the idempotency key is; whether with the same content, the client compares.
function submission.submit(tree, created)
  if created[tree.id] then
    return { 'twice', tree.id }
  elseif rows.exists(tree.id) then
    return { 'taken', tree.id }
  elseif walks.is_left(tree.id) then
    return { 'busy', tree.id }
  elseif tree.staged and redis.call('HLEN', session.key('staged:') .. tree.staged) < tree.parts then
    return { 'again', tree.id }
  end
  if tree.key then
    local known = redis.call('HGET', session.key('keys'), cjson.encode({ tree.owner, tree.key }))
    if known then
      local id = cjson.decode(known)[1]
      return { rows.exists(id) and 'keyed' or 'existing', id }
    end
  end
  if tree.unique then
    local holder = submission.unique_holder(tree.unique[1], tree.unique[2])
    if holder then
      return { 'existing', holder }
    end
  end
  created[tree.id] = true
  return create(tree)
end
