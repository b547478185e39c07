-- What the end of a task means for others (`rules/ends.py`), and how a goal ends (`tasks/goal.py`).
--
--   dag:<goal>:nodes   hash: node -> {"task": id, "agent": …}
--   dag:<goal>:deps    hash: node -> the nodes it depends on: names, or {"node": …, "when": …} unless that is "done"
--   dag:<goal>:next    hash: node -> [task id, when] of each node that depends on it
--   dag:<goal>:edges   string: [source, target, when] of all edges in order
-- All of them JSON.

ends = {}

local SKIPPED = 'skipped: '

-- `topic` has come for a waiting task.
function ends.come(t, topic)
  if not t or not waits.met(t, topic) or t.status ~= 'waiting' then
    return
  end
  if (t.unmet or 0) > 1 then
    limits.apply(t, transitions.closer)
  else
    waits.expect_nothing(t)
    limits.apply(t, transitions.wake, 'came: ' .. topic)
  end
end

-- Whether an edge is met by a source that has ended so.
function ends.is_met(when, status)
  return rows.is_final({ status = status }) and (when == 'finished' or when == status)
end

local function decide(source, queue)
  local text = redis.call('HGET', session.key('dag:') .. source.goal .. ':next', source.node)
  for _, link in ipairs(text and cjson.decode(text) or {}) do
    local target = rows.load(link[1])
    if target.status == 'blocked' then
      if not ends.is_met(link[2], source.status) then
        limits.apply(target, transitions.cancel, SKIPPED .. source.node .. ' is ' .. source.status)
        queue[#queue + 1] = target
      elseif (target.unmet or 0) > 1 then
        transitions.closer(target)
      else
        limits.apply(target, transitions.meet)
      end
    end
  end
end

-- The nodes of a goal by name and in order, and its edges.
function ends.nodes_of(goal)
  local nodes, order = {}, rows.children(goal)
  for _, node in ipairs(order) do
    nodes[node.node or node.id] = node
  end
  return nodes, order, cjson.decode(redis.call('GET', session.key('dag:') .. goal.id .. ':edges') or '[]')
end

-- Nodes that ended in `status`, and whose end no other node has handled.
function ends.unhandled(nodes, order, edges, status)
  local handled, found = {}, {}
  for _, edge in ipairs(edges) do
    local source, target, when = edge[1], edge[2], edge[3]
    if nodes[target].status == 'done' and (when == 'finished' or (when == 'failed' and status == 'failed')) then
      handled[source] = true
    end
  end
  for _, node in ipairs(order) do
    if node.status == status and not handled[node.node] then
      found[#found + 1] = node
    end
  end
  return found
end

local function is_skipped(node)
  return (node.reason or ''):sub(1, #SKIPPED) == SKIPPED
end

ends.is_skipped = is_skipped

-- How a goal whose nodes are all final ends.
local function conclude(goal)
  local nodes, order, edges = ends.nodes_of(goal)
  local failed = ends.unhandled(nodes, order, edges, 'failed')
  if failed[1] then
    local error = failed[1].last_error and cjson.decode(failed[1].last_error)
    local why = 'node ' .. failed[1].node .. ' failed'
    if error then
      why = why .. ': ' .. error.type .. ': ' .. error.message
    end
    if failed[2] then
      why = why .. ' (and ' .. (#failed - 1) .. ' more)'
    end
    return limits.apply(goal, transitions.fail, { 'NodeFailed', why }, why)
  end
  for _, node in ipairs(ends.unhandled(nodes, order, edges, 'cancelled')) do
    if not is_skipped(node) then
      return limits.apply(goal, transitions.cancel, 'node ' .. node.node .. ' was cancelled')
    end
  end
  limits.apply(goal, transitions.finish)
end

-- One node less to wait for.
local function count(goal, queue)
  if goal and goal.status == 'waiting' and goal.kind == 'goal' then
    transitions.closer(goal)
    if goal.unmet <= 0 then
      conclude(goal)
      queue[#queue + 1] = goal
    end
  end
end

local function how(t)
  if t.status == 'cancelled' then
    return 'was cancelled'
  end
  return 'failed: ' .. (t.last_error and cjson.decode(t.last_error).message or '')
end

-- A task has just reached a final state. `with_descendants`: it was cancelled or ran out of time.
function ends.ended(t, with_descendants)
  if not t.more then
    return -- a plain task concerns nobody
  end
  local queue = { t }
  if with_descendants then
    local why = SKIPPED .. t.id .. ' ' .. how(t)
    for _, each in ipairs(t.kids and rows.active_below(t) or {}) do
      limits.apply(each, transitions.cancel, why)
      queue[#queue + 1] = each
    end
  end
  local at = 1
  while queue[at] do -- each may end further tasks
    local each = queue[at]
    waits.expect_nothing(each)
    if each.awaited then
      rows.set(each, { awaited = false })
      for _, id in ipairs(waits.expecting('task:' .. each.id)) do
        ends.come(rows.load(id), 'task:' .. each.id)
      end
    end
    if each.node then
      decide(each, queue)
      count(rows.load(each.goal), queue)
    end
    at = at + 1
  end
end
