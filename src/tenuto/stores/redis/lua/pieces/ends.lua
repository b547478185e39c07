-- What the end of a task means for others (`rules/ends.py`), and how a goal ends (`tasks/goal.py`).
--
--   dag:<goal>:nodes   hash: node -> {"task": id, "agent": …}
--   dag:<goal>:deps    hash: node -> the nodes it depends on: names, or {"node": …, "when": …} unless that is "done"
--   dag:<goal>:next    hash: node -> [task id, when] of each node that depends on it; of more than 250 in parts, the
--                      second of which is under <node>, a line break and 2
--   dag:<goal>:edges   string: [source, target, when] of all edges in order
-- All of them JSON.

ends = {}

local SKIPPED = 'skipped: '
local LOOKS = 8 -- tasks that may be looked at in the time of a change
local PAGE = 1000

ends.IN_PART = 250

-- Whether an edge is met by a source that has ended so.
function ends.is_met(when, status)
  return rows.is_final({ status = status }) and (when == 'finished' or when == status)
end

function ends.is_skipped(node)
  return (node.reason or ''):sub(1, #SKIPPED) == SKIPPED
end

-- A part of the edges that leave a node: {task id, when}; and the number of the next part, 0 behind the last one.
function ends.links(node, part)
  local field = part == 1 and node.node or node.node .. '\n' .. part
  local text = redis.call('HGET', session.key('dag:') .. node.goal .. ':next', field)
  local links = text and cjson.decode(text) or {}
  return links, #links >= ends.IN_PART and part + 1 or 0
end

local function decide(source, link, items)
  local target = rows.load(link[1])
  if target.status == 'blocked' then
    if not ends.is_met(link[2], source.status) then
      limits.apply(target, transitions.cancel, SKIPPED .. source.node .. ' is ' .. source.status)
      items[#items + 1] = { act = 'follow', ended = target.id }
    elseif (target.unmet or 0) > 1 then
      transitions.closer(target)
    else
      limits.apply(target, transitions.meet)
    end
  end
end

-- -- how a goal ends

-- Whether another node has handled how this one ended.
local function is_handled(node)
  local links, part = nil, 1
  while part > 0 do
    links, part = ends.links(node, part)
    for _, link in ipairs(links) do
      local when = link[2]
      if (when == 'finished' or (when == 'failed' and node.status == 'failed')) and rows.status(link[1]) == 'done' then
        return true
      end
    end
    walks.spend(#links / LOOKS)
  end
  return false
end

-- Looks through the nodes of a goal, all of them final, as far as this script may; whether they were all.
local function look(goal, seen)
  local page
  repeat
    page = redis.call('ZRANGE', session.key('children:') .. goal.id, seen.nodes, seen.nodes + PAGE - 1)
    for _, id in ipairs(page) do
      local status = rows.status(id)
      local bad = status == 'failed' or status == 'cancelled'
      local node = bad and rows.load(id)
      if bad and not (status == 'cancelled' and ends.is_skipped(node)) and not is_handled(node) then
        seen[status] = seen[status] or id
        seen.failures = seen.failures + (status == 'failed' and 1 or 0)
      end
    end
    seen.nodes = seen.nodes + #page
    walks.spend(#page / LOOKS)
  until #page < PAGE or walks.room() <= 0
  return #page < PAGE
end

local function conclude(goal, seen)
  if seen.failed then
    local node = rows.load(seen.failed)
    local error = node.last_error and cjson.decode(node.last_error)
    local why = 'node ' .. node.node .. ' failed'
    if error then
      why = why .. ': ' .. error.type .. ': ' .. error.message
    end
    if seen.failures > 1 then
      why = why .. ' (and ' .. (seen.failures - 1) .. ' more)'
    end
    limits.apply(goal, transitions.fail, { 'NodeFailed', why }, why)
  elseif seen.cancelled then
    limits.apply(goal, transitions.cancel, 'node ' .. rows.load(seen.cancelled).node .. ' was cancelled')
  else
    limits.apply(goal, transitions.finish)
  end
end

local function is_open(goal)
  return goal and goal.status == 'waiting' and goal.kind == 'goal'
end

-- -- one after the other

-- Wakes who waits for the end of a task; whether these were all.
local function wake(t)
  local topic = 'task:' .. t.id
  while t.awaited and walks.room() > 0 do
    local ids = waits.expecting(topic, math.ceil(walks.room()))
    for _, id in ipairs(ids) do
      waits.come(id, topic)
    end
    walks.spend(#ids)
    if not ids[1] then
      rows.set(t, { awaited = false })
    end
  end
  return not t.awaited
end

-- Decides the edges that leave a node; whether these were all.
local function decide_all(t, item, items)
  local links, part = nil, item.part or 1
  while part > 0 and walks.room() > 0 do
    links, part = ends.links(t, part)
    for _, link in ipairs(links) do
      decide(t, link, items)
    end
    walks.spend(#links)
  end
  item.part = part
  return part == 0
end

-- What the end of a task means for others, as far as this script may; whether that was all. `item`: {ended, and how far
-- it got: part, seen}; those that end thereby join `items`.
function ends.follow(item, items)
  local t = rows.load(item.ended)
  waits.expect_nothing(t)
  if not wake(t) or (t.node and not decide_all(t, item, items)) then
    return false
  end
  local goal = t.node and rows.load(t.goal)
  if not is_open(goal) then
    return true
  elseif not item.seen then
    transitions.closer(goal) -- one node less to wait for
    if goal.unmet > 0 then
      return true
    end
    rows.write()
    item.seen = { nodes = 0, failures = 0 }
  end
  if not look(goal, item.seen) then
    return false
  end
  conclude(goal, item.seen)
  items[#items + 1] = { act = 'follow', ended = goal.id }
  return true
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
  local items = {}
  if with_descendants and t.kids then
    items[1] = { act = 'cancel', below = t.id, why = SKIPPED .. t.id .. ' ' .. how(t) }
  end
  items[#items + 1] = { act = 'follow', ended = t.id }
  walks.begin(rows.root_of(t), items)
end
