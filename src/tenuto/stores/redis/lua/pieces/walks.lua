-- Work on a tree that may be long: a script does so much of it, and keeps the rest for the next one.
--
--   walks         sorted set: roots of trees with work left, by the instant at which it began
--   walk:<root>   list: what is left to do, in order, as JSON: `steps` says what there is
--   doom:<root>   hash: task -> what is to be done with everything below it, as JSON, while that is left to do
--
-- In the hash `store`: `walks`, how many roots there are in `walks`.
--
-- What is left is done in order, by whoever comes: the one who caused it, and every sweep. Until then a tree
-- is as if the end of its tasks were known to some of those whom it concerns, and to others not yet. Three rules make
-- that as good as at once:
--   1. What ends meanwhile comes after what is left: edges are decided in the order in which their sources ended.
--   2. What is doomed is what it will be to all who touch it: `walks.settle` cancels or pauses it on the spot.
--   3. Directives, and whoever would submit a tree of that name, wait until nothing is left (`walks.is_left`).

walks = {}

local MOST = 250 -- tasks that one script changes for long work, about: some ten milliseconds
local LOOKS = 8 -- tasks that may be looked at in the time of a change

walks.MOST_AT_ONCE = 1000

local left, unfinished, dooms

session.each_request(function()
  left, unfinished, dooms = MOST, {}, {}
end)

local steps = {}

-- How much more this script may do.
function walks.room()
  return left
end

-- This script has changed so many tasks, or parts of a task's change.
function walks.spend(changes)
  left = left - changes
end

-- Whether work on the tree of this root is left.
function walks.is_left(root)
  return session.walks > 0 and redis.call('ZSCORE', session.key('walks'), root) ~= false
end

-- Roots of trees on which this script has left work.
function walks.unfinished()
  local roots = {}
  for root in pairs(unfinished) do
    roots[#roots + 1] = root
  end
  return roots
end

-- -- what is left

local function list_of(root)
  return session.key('walk:') .. root
end

-- What dooms the tasks below others in this tree, by these.
local function dooms_of(root)
  local found = dooms[root]
  if not found then
    found = {}
    local flat = redis.call('HGETALL', session.key('doom:') .. root)
    for at = 1, #flat, 2 do
      found[flat[at]] = cjson.decode(flat[at + 1])
    end
    dooms[root] = found
  end
  return found
end

local function undoom(root, item)
  local marks = dooms_of(root)
  local mark = marks[item.below]
  if mark and mark.act == item.act then
    redis.call('HDEL', session.key('doom:') .. root, item.below)
    marks[item.below] = nil
  end
end

local function keep(root, items, first)
  local texts = {}
  for at = first, #items do
    local item = items[at]
    local text = cjson.encode(item)
    texts[#texts + 1] = text
    if item.below and (item.act == 'cancel' or item.act == 'pause') then
      redis.call('HSET', session.key('doom:') .. root, item.below, text)
      dooms_of(root)[item.below] = item
    end
  end
  session.in_parts('RPUSH', list_of(root), texts)
  if redis.call('ZADD', session.key('walks'), 'NX', session.whole(session.now), root) == 1 then
    session.count_walks(1)
  end
  unfinished[root] = true
end

-- Does what is in `items`, up to `last`, as far as this script may; the first that is left. What comes of them joins
-- the end.
local function go(items, last)
  local at = 1
  while items[at] and at <= last and left > 0 do
    local item = items[at]
    if not steps[item.act](item, items) then
      break
    end
    at = at + 1
  end
  return at
end

-- Does `items` for the tree of this root: now, as far as nothing is left there and this script may.
function walks.begin(root, items)
  local first = walks.is_left(root) and 1 or go(items, math.huge)
  if items[first] then
    keep(root, items, first)
  end
end

-- Leaves a piece of work on the tree of this root, on which nothing is left, for later.
function walks.put_off(root, item)
  keep(root, { item }, 1)
end

-- The first piece of work that is left of a tree; nil when there is none.
function walks.first_of(root)
  local text = redis.call('LRANGE', list_of(root), 0, 0)[1]
  return text and cjson.decode(text)
end

local function forget(root)
  redis.call('DEL', list_of(root), session.key('doom:') .. root)
  redis.call('ZREM', session.key('walks'), root)
  session.count_walks(-1)
  unfinished[root] = nil
end

-- Goes on with what is left of a tree; whether that was all.
function walks.go_on(root)
  local key, items = list_of(root), {}
  for at, text in ipairs(redis.call('LRANGE', key, 0, MOST - 1)) do
    items[at] = cjson.decode(text)
  end
  local known = #items
  local at = go(items, known < redis.call('LLEN', key) and known or math.huge)
  if at > known then
    redis.call('LTRIM', key, known, -1)
  else
    redis.call('LTRIM', key, at - 1, -1)
    redis.call('LSET', key, 0, cjson.encode(items[at]))
    at = known + 1
  end
  if items[at] then
    keep(root, items, at)
  elseif redis.call('EXISTS', key) == 0 then
    forget(root)
    return true
  end
  return false
end

-- Puts `item` in the place of the first piece of work that is left of a tree, or nothing.
function walks.replace_first(root, item)
  local key = list_of(root)
  if item then
    redis.call('LSET', key, 0, cjson.encode(item))
    return
  end
  redis.call('LTRIM', key, 1, -1)
  if redis.call('EXISTS', key) == 0 then
    forget(root)
  end
end

-- The root of the tree on which work was left first; nil when there is none.
function walks.first()
  return redis.call('ZRANGE', session.key('walks'), 0, 0)[1]
end

-- -- everything below a task

local acts = {}

function acts.cancel(t, item, items)
  if not rows.is_final(t) then
    limits.apply(t, transitions.cancel, item.why)
    waits.expect_nothing(t)
    if t.awaited then
      items[#items + 1] = { act = 'follow', ended = t.id }
    end
  end
end

function acts.pause(t, item)
  if not t.paused and not rows.is_final(t) then
    limits.apply(t, transitions.pause, item.why)
  end
end

function acts.resume(t)
  if t.paused then
    limits.apply(t, transitions.resume)
  end
end

function acts.elevate(t, item)
  if not rows.is_final(t) and (t.priority or 0) ~= item.priority then
    limits.apply(t, transitions.elevate, item.priority)
  end
end

local function lies_below(t, top)
  local id = rows.parent_of(t)
  while id do
    if id == top then
      return true
    end
    id = rows.parent_of(rows.load(id))
  end
  return false
end

-- Calls `act` with each task below another that is in state `wanted` (nil: in none that is final), from where `item` was
-- left, as far as this script may; whether these were all.
function walks.scan(top, item, wanted, act)
  local root = rows.root_of(top)
  item.after = item.after or top.number
  repeat
    local flat = redis.call(
      'ZRANGEBYSCORE', session.key('tree:') .. root, '(' .. session.whole(item.after), '+inf', 'WITHSCORES',
      'LIMIT', 0, math.max(math.ceil(left), 1)
    )
    for at = 1, #flat, 2 do
      local status = rows.status(flat[at])
      if status == wanted or not (wanted or rows.is_final({ status = status })) then
        local t = rows.load(flat[at])
        if top.id == root or lies_below(t, top.id) then
          act(t)
        end
        left = left - 1
      else
        left = left - 1 / LOOKS
      end
      item.after = tonumber(flat[at + 1])
    end
  until left <= 0 or not flat[1]
  return left > 0
end

-- Does to each unfinished task below another what is to be done, in the order of submission: few of them at once.
local function all_below(item, items)
  local top = rows.load(item.below)
  local few = not item.after and families.active_below(top, walks.MOST_AT_ONCE)
  local done = few ~= nil
  if few then
    for _, t in ipairs(few) do
      acts[item.act](t, item, items)
    end
    left = left - #few
  else
    done = walks.scan(top, item, nil, function(t)
      acts[item.act](t, item, items)
    end)
  end
  if done then
    undoom(rows.root_of(top), item)
  end
  return done
end

for act in pairs(acts) do
  steps[act] = all_below
end

-- Stores what is left of a goal.
function steps.arrive(item)
  return submission.arrive(item)
end

-- A retry that is still to be planned: nothing goes on before it is.
function steps.retry()
  return false
end

-- Revives what is left.
function steps.revive(item)
  return revival.go_on(item)
end

-- Removes what is left of a tree.
function steps.purge(item)
  return purging.go_on(item)
end

-- What the end of a task means for others.
function steps.follow(item, items)
  return ends.follow(item, items)
end

-- What a task will be once nothing is left of its tree: whoever touches it sees it as that.
function walks.settle(t)
  if session.walks == 0 then
    return
  end
  local root, items = rows.root_of(t), {}
  local marks = dooms_of(root)
  local parent = next(marks) and rows.parent_of(t)
  while parent do
    local item = marks[parent]
    if item then
      acts[item.act](t, item, items)
    end
    parent = rows.parent_of(rows.load(parent))
  end
  if items[1] then
    keep(root, items, 1)
  end
end

