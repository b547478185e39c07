-- Submitting trees (`rules/submit.py`).
--
--   keys       hash: [owner, idempotency key] as JSON -> [id, instant] as JSON
--   keys:age   sorted set: the fields of `keys`, oldest first

submission = {}

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

local function link(goal, nodes, edges, ids)
  local named, needs, following, order = {}, {}, {}, {}
  for _, node in ipairs(nodes) do
    named[#named + 1] = node.id
    named[#named + 1] = '{"task":' .. events.quote(ids[node.id]) .. ',"agent":' .. events.quote(node.agent) .. '}'
  end
  for _, edge in ipairs(edges) do
    local source, target, when = edge[1], edge[2], edge[3]
    needs[target] = needs[target] or {}
    following[source] = following[source] or {}
    table.insert(needs[target], when == 'done' and source or { node = source, when = when })
    table.insert(following[source], { ids[target], when })
    order[#order + 1] = edge
  end
  local dag = session.key('dag:') .. goal
  session.in_parts('HSET', dag .. ':nodes', named)
  for target, list in pairs(needs) do
    redis.call('HSET', dag .. ':deps', target, cjson.encode(list))
  end
  for source, list in pairs(following) do
    for first = 1, #list, ends.IN_PART do
      local part = math.ceil(first / ends.IN_PART)
      local links = { unpack(list, first, math.min(first + ends.IN_PART - 1, #list)) }
      redis.call('HSET', dag .. ':next', part == 1 and source or source .. '\n' .. part, cjson.encode(links))
    end
  end
  if order[1] then
    redis.call('SET', dag .. ':edges', cjson.encode(order))
  end
end

local function create_goal(tree)
  local goal, ids, taken = tree.id, {}, { [tree.id] = true }
  for _, node in ipairs(tree.nodes) do
    taken[node.id] = taken[node.id] or rows.exists(node.id)
  end
  for _, node in ipairs(tree.nodes) do
    ids[node.id] = taken[node.id] and goal .. '.' .. node.id or node.id
  end
  local unmet = {}
  for _, edge in ipairs(tree.edges) do
    unmet[edge[2]] = (unmet[edge[2]] or 0) + 1
  end
  admission.admit(goal, tree.fields, { kind = 'goal', kids = '1' }, #tree.nodes)
  link(goal, tree.nodes, tree.edges, ids)
  for _, node in ipairs(tree.nodes) do
    local place = { root = goal, goal = goal, node = node.id }
    admission.admit(ids[node.id], node.fields, place, unmet[node.id] or 0)
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
  if tree.nodes then
    return create_goal(tree)
  end
  admission.admit(tree.id, tree.fields, {}, 0)
  return { 'created', tree.id }
end

-- Stores a tree: what became of it, the id of its root, and of a new goal task ids by node. "taken": the id is there,
-- "keyed": the idempotency key is; whether with the same content, the client compares.
function submission.submit(tree, created)
  if created[tree.id] then
    return { 'twice', tree.id }
  elseif rows.exists(tree.id) then
    return { 'taken', tree.id }
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
