-- Retrying what has ended (`rules/revive.py`): a task, or a goal from where it failed.
--
--   reviving:<goal>   hash: number of a part -> {task of a node, its unmet edges then} of each node that is revived, those
--                     first on which others depend; as msgpack
--
-- Which nodes can run again is found out by the client (`tasks/goal.py`), while the tree has work left and so stands
-- still: no edge is decided, and no directive taken. What it has found is carried out here.

revival = {}

local SKIPPED = 'skipped: '

local function starts_with(text, beginning)
  return (text or ''):sub(1, #beginning) == beginning
end

-- Runs a task again that was cancelled because one above it, or the goal, ended.
local function again(t, top, goal)
  local because = starts_with(t.reason, SKIPPED .. top.id .. ' ')
    or (goal and starts_with(t.reason, SKIPPED .. goal.id .. ' '))
  if t.status == 'cancelled' and because then
    limits.apply(t, transitions.revive, 0, false)
    return true
  end
  return false
end

local function keep_paused(t, goal)
  if goal and goal.paused then
    limits.apply(t, transitions.pause, goal.reason or '')
  end
end

-- Revives a task, and where it goes on with its journal what is to run again below it, as far as this script may;
-- whether that was all. Where that is much, the task itself comes last.
local function revive(t, unmet, goal, item)
  local fresh = item.fresh or t.status == 'done'
  local few = (fresh or not t.kids) and {} or families.below(t, walks.MOST_AT_ONCE)
  if not few then
    local all = walks.scan(t, item, 'cancelled', function(each)
      if again(each, t, goal) then
        keep_paused(each, goal)
      end
    end)
    if not all then
      return false
    end
  end
  item.after = nil
  if fresh then
    journal.drop_all(t)
  end
  limits.apply(t, transitions.revive, unmet, fresh)
  local revived = { t }
  for _, each in ipairs(few or {}) do
    if again(each, t, goal) then
      revived[#revived + 1] = each
    end
  end
  for _, each in ipairs(revived) do
    keep_paused(each, goal)
  end
  walks.spend(1 + #(few or {}))
  return true
end

-- Edges that have fired are open again for those that still wait for others.
local function reopen(node)
  local links, part = nil, 1
  while part > 0 do
    links, part = ends.links(node, part)
    for _, link in ipairs(links) do
      if ends.is_met(link[2], node.status) and rows.status(link[1]) == 'blocked' then
        transitions.farther(rows.load(link[1]))
      end
    end
    walks.spend(#links / 8)
  end
end

-- Revives what is left of a task, or of the nodes of a goal as planned, as far as this script may; whether that was all.
function revival.go_on(item)
  if item.task then
    return revive(rows.load(item.task), 0, nil, item)
  end
  local goal, key = rows.load(item.goal), session.key('reviving:') .. item.goal
  while item.part <= item.parts do
    local plan = cmsgpack.unpack(redis.call('HGET', key, item.part))
    while plan[item.at] do
      if walks.room() <= 0 then
        return false
      end
      local node = rows.load(plan[item.at][1])
      if item.only and not item.after then
        reopen(node)
      end
      if not revive(node, plan[item.at][2], goal, item) then
        return false
      end
      item.at = item.at + 1
    end
    item.part, item.at = item.part + 1, 1
  end
  redis.call('UNLINK', key)
  return true
end

local function unique_held(t)
  local unique = t.unique and cjson.decode(t.unique)
  local holder = unique and submission.unique_holder(unique.key, unique.states or revival.active, t.id)
  return holder and { 'refused', 'unique', unique.key, holder }
end

-- Why a task cannot be retried; nil when it can.
local function refusal(t)
  if not rows.is_final(t) then
    return { 'refused', 'active', t.status }
  elseif unique_held(t) then
    return unique_held(t)
  elseif t.node and rows.is_final(rows.load(t.goal)) then
    return { 'refused', 'goal ended', t.goal }
  elseif t.node and t.status ~= 'failed' then
    return { 'refused', 'node', t.status }
  end
  return nil
end

-- Runs a task again: what became of the wish; nil where that is to be planned first. `token`: names the wish.
function revival.retry(t, fresh, token)
  local refused = refusal(t)
  if refused then
    return refused
  elseif t.kind == 'goal' or t.node then
    walks.put_off(t.goal or t.id, { act = 'retry', task = t.id, only = t.node, fresh = fresh, token = token })
    return nil
  end
  walks.begin(rows.root_of(t), { { act = 'revive', task = t.id, fresh = fresh } })
  return { 'accepted' }
end

-- The wish that was made under this token can be carried out: what became of it. `plan`: how many nodes are revived,
-- under which name they were sent ahead, in how many parts.
function revival.planned(root, token, plan)
  local wish, goal = walks.first_of(root), rows.load(root)
  if not wish or wish.token ~= token then
    return { 'accepted' } -- it was, longer ago than answers are kept
  end
  local t = rows.load(wish.task)
  local refused = refusal(t)
  if not refused and plan.size == 0 then
    refused = { 'refused', wish.only and 'node depends' or 'goal over', goal.status }
  end
  if refused then
    walks.replace_first(root, nil)
    return refused
  elseif wish.only then
    transitions.more(goal, plan.size)
  else
    limits.apply(goal, transitions.revive, plan.size, false)
  end
  local key = session.key('reviving:') .. root
  redis.call('RENAME', session.key('staged:') .. plan.name, key)
  redis.call('PERSIST', key)
  walks.replace_first(root, {
    act = 'revive', goal = root, only = wish.only, fresh = wish.fresh, part = 1, at = 1, parts = plan.parts,
  })
  walks.go_on(root)
  return { 'accepted' }
end

revival.active = { 'blocked', 'ready', 'running', 'scheduled', 'waiting' }
