-- Retrying what has ended (`rules/revive.py`): a task, or a goal from where it failed.

revival = {}

local SKIPPED = 'skipped: '

local function starts_with(text, beginning)
  return (text or ''):sub(1, #beginning) == beginning
end

-- Revives a task, and where it goes on with its journal what was cancelled below it because it or `goal` ended.
local function revive(t, fresh, unmet, goal)
  fresh = fresh or t.status == 'done'
  if fresh then
    journal.drop_all(t)
  end
  limits.apply(t, transitions.revive, unmet, fresh)
  local revived = { t }
  if fresh or not t.kids then
    return revived
  end
  local ahead, at = rows.children(t), 1
  while ahead[at] do
    local child = ahead[at]
    for _, each in ipairs(child.kids and rows.children(child) or {}) do
      ahead[#ahead + 1] = each
    end
    if child.status == 'cancelled' then
      local because = starts_with(child.reason, SKIPPED .. t.id .. ' ')
        or (goal and starts_with(child.reason, SKIPPED .. goal.id .. ' '))
      if because then
        limits.apply(child, transitions.revive, 0, false)
        revived[#revived + 1] = child
      end
    end
    at = at + 1
  end
  return revived
end

-- The nodes of a goal by name and in order, and its edges.
local function nodes_of(goal)
  local nodes, order = {}, rows.children(goal)
  for _, node in ipairs(order) do
    nodes[node.node or node.id] = node
  end
  return nodes, order, cjson.decode(redis.call('GET', session.key('dag:') .. goal.id .. ':edges') or '[]')
end

-- Nodes that failed, and whose end no other node has handled.
local function unhandled(nodes, order, edges)
  local handled, found = {}, {}
  for _, edge in ipairs(edges) do
    if nodes[edge[2]].status == 'done' and edge[3] ~= 'done' then
      handled[edge[1]] = true
    end
  end
  for _, node in ipairs(order) do
    if node.status == 'failed' and not handled[node.node] then
      found[#found + 1] = node
    end
  end
  return found
end

-- Edges by target, and nodes in an order in which each comes after those it depends on.
local function sorted(order, edges)
  local incoming, following, open, queue = {}, {}, {}, {}
  for _, edge in ipairs(edges) do
    incoming[edge[2]] = incoming[edge[2]] or {}
    table.insert(incoming[edge[2]], edge)
    following[edge[1]] = following[edge[1]] or {}
    table.insert(following[edge[1]], edge[2])
  end
  for _, node in ipairs(order) do
    open[node.node] = #(incoming[node.node] or {})
    if open[node.node] == 0 then
      queue[#queue + 1] = node
    end
  end
  local names, at = {}, 1
  for _, node in ipairs(order) do
    names[node.node] = node
  end
  while queue[at] do
    for _, target in ipairs(following[queue[at].node] or {}) do
      open[target] = open[target] - 1
      if open[target] == 0 then
        queue[#queue + 1] = names[target]
      end
    end
    at = at + 1
  end
  return incoming, queue
end

-- The nodes that a retry revives: {node, its unmet edges then} in order, and by name (`goal.revivable`).
local function revivable(nodes, order, edges, only)
  local begin, found, by_name = {}, {}, {}
  if only then
    begin[only] = true
  else
    for _, node in ipairs(unhandled(nodes, order, edges)) do
      begin[node.node] = true
    end
  end
  local incoming, queue = sorted(order, edges)
  for _, node in ipairs(queue) do
    local skipped = node.status == 'cancelled' and ends.is_skipped(node)
    if begin[node.node] or skipped then
      local open, never = 0, false
      for _, edge in ipairs(incoming[node.node] or {}) do
        local source = nodes[edge[1]]
        if by_name[edge[1]] or not rows.is_final(source) then
          open = open + 1
        elseif not ends.is_met(edge[3], source.status) then
          never = true
        end
      end
      if not never then
        by_name[node.node] = true
        found[#found + 1] = { node, open }
      end
    end
  end
  return found, by_name
end

-- Revives the nodes that can run again; how many.
local function revive_nodes(goal, fresh, only)
  local nodes, order, edges = nodes_of(goal)
  local found, by_name = revivable(nodes, order, edges, only)
  if only and not by_name[only] then
    return 0
  end
  local following = {}
  for _, edge in ipairs(edges) do
    following[edge[1]] = following[edge[1]] or {}
    table.insert(following[edge[1]], edge)
  end
  for _, each in ipairs(found) do
    local node, unmet = each[1], each[2]
    for _, edge in ipairs(following[node.node] or {}) do
      local target = nodes[edge[2]]
      if ends.is_met(edge[3], node.status) and target.status == 'blocked' and not by_name[target.node] then
        transitions.farther(target)
      end
    end
    for _, again in ipairs(revive(node, fresh, unmet, goal)) do
      if goal.paused then
        limits.apply(again, transitions.pause, goal.reason or '')
      end
    end
  end
  return #found
end

-- Runs a task again; what became of the wish.
function revival.retry(t, fresh)
  if not rows.is_final(t) then
    return { 'refused', 'active', t.status }
  end
  if t.unique then
    local unique = cjson.decode(t.unique)
    local holder = submission.unique_holder(unique.key, unique.states or revival.active, t.id)
    if holder then
      return { 'refused', 'unique', unique.key, holder }
    end
  end
  if t.kind == 'goal' then
    local revived = revive_nodes(t, fresh)
    if revived == 0 then
      return { 'refused', 'goal over', t.status }
    end
    limits.apply(t, transitions.revive, revived, false)
  elseif t.node then
    local goal = rows.load(t.goal)
    if rows.is_final(goal) then
      return { 'refused', 'goal ended', t.goal }
    elseif t.status ~= 'failed' then
      return { 'refused', 'node', t.status }
    end
    local revived = revive_nodes(goal, fresh, t.node)
    if revived == 0 then
      return { 'refused', 'node depends' }
    end
    transitions.more(goal, revived)
  else
    revive(t, fresh, 0)
  end
  return { 'accepted' }
end

revival.active = { 'blocked', 'ready', 'running', 'scheduled', 'waiting' }
