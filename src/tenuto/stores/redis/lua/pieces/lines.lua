-- Lines of those who wait for room in a budget (`rules/lines.py`, function by function).
--
--   lines   hash: <scope> 0x1F <period> -> a line for each task that waits: id 0x1F since 0x1F until 0x1F whether it was
--           called 0x1F the room that it waits for
--
-- A line is a list of places: id, since, till, called, bound.

lines = {}

lines.PATIENCE = 10000
lines.GRACE = 5000

local MOST = 64

local whole, SEPARATOR = session.whole, '\31'

local function read(text)
  local line = {}
  for id, since, till, called, bound in text:gmatch('([^\n\31]*)\31(%d+)\31(%d+)\31(%d)\31([^\n]*)') do
    line[#line + 1] = {
      id = id, since = tonumber(since), till = tonumber(till), called = called == '1', bound = books.numbers(bound),
    }
  end
  return line
end

-- The lines of some budgets, given as fields; empty where nobody waits.
function lines.of(fields)
  local found = {}
  for at, text in ipairs(redis.call('HMGET', session.key('lines'), unpack(fields))) do
    found[at] = text and read(text) or {}
  end
  return found
end

function lines.put(field, line)
  local texts = {}
  for at, place in ipairs(line) do
    texts[at] = table.concat({
      place.id, whole(place.since), whole(place.till), place.called and '1' or '0', books.words(place.bound),
    }, SEPARATOR)
  end
  if texts[1] then
    redis.call('HSET', session.key('lines'), field, table.concat(texts, '\n'))
  else
    redis.call('HDEL', session.key('lines'), field)
  end
end

function lines.place_of(line, id)
  for _, place in ipairs(line) do
    if place.id == id then
      return place
    end
  end
  return nil
end

local function goes_before(one, other)
  return one.since < other.since or (one.since == other.since and one.id < other.id)
end

-- Whose places are good, in order.
local function alive(line)
  local good = {}
  for _, place in ipairs(line) do
    if place.till >= session.now then
      good[#good + 1] = place
    end
  end
  table.sort(good, goes_before)
  return good
end

-- The room that is kept for those who go before a task that has waited since then.
function lines.kept(line, id, since)
  local room, self = { 0, 0, 0 }, { id = id, since = since }
  for _, place in ipairs(alive(line)) do
    if goes_before(place, self) then
      room = books.more(room, place.bound)
    end
  end
  return room
end

-- The line with a place, if there is one left for it.
function lines.joined(line, place)
  local after = alive(line)
  local known = lines.place_of(after, place.id)
  if known then
    known.since, known.till, known.called, known.bound = place.since, place.till, false, place.bound
  elseif #after < MOST then
    after[#after + 1] = place
  end
  return after
end

-- The line that a task has left.
function lines.without(line, id)
  local after = {}
  for _, place in ipairs(line) do
    if place.id ~= id then
      after[#after + 1] = place
    end
  end
  return after
end

-- The line after those were called whose turn it is, and who they are. No `budget`: all. `numbers`: see `books`.
function lines.called(line, budget, numbers)
  local after, ids = alive(line), {}
  local counted = numbers or { 0, 0, 0, 0, 0, 0 }
  local taken = { counted[1], counted[2], counted[3] }
  local spent = { counted[1] - counted[4], counted[2] - counted[5], counted[3] - counted[6] }
  for _, place in ipairs(after) do
    local never = budget and books.short(budget, spent, place.bound)
    local has_room = not budget or not books.short(budget, taken, place.bound)
    if not never then
      taken = books.more(taken, place.bound)
    end
    if (has_room or never) and not place.called then
      ids[#ids + 1] = place.id
      place.till, place.called = session.now + lines.GRACE, true
    end
  end
  return after, ids
end

-- The tasks that wait for room in a budget ask again.
function lines.wake(scope, ids)
  for _, id in ipairs(ids) do
    waits.come(id, 'budget:' .. scope)
  end
end

-- All who wait for room in a budget that changes ask again.
function lines.call_all(scope, period)
  local field = scope .. SEPARATOR .. period
  local line = lines.of({ field })[1]
  if line[1] then
    local after, ids = lines.called(line)
    lines.put(field, after)
    lines.wake(scope, ids)
  end
end

-- Whether room in a budget has come for a task: the budget is gone, or the task was called.
function lines.has_come(topic, id)
  local scope = topic:match('^budget:(.*)$')
  if not scope then
    return false
  end
  local fields, there = {}, false
  for at, period in ipairs({ '', 'month', 'day' }) do
    fields[at] = scope .. SEPARATOR .. period
  end
  local budgets = redis.call('HMGET', session.key('budgets'), unpack(fields))
  for at, line in ipairs(lines.of(fields)) do
    local place = budgets[at] and lines.place_of(line, id)
    if place and place.called then
      return true
    end
    there = there or budgets[at]
  end
  return not there
end
