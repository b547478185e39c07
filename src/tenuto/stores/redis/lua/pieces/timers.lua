-- When time changes something next.
--
--   schedules       hash: name -> the schedule as JSON;   schedules:due   sorted set: names by their next instant

timers = {}

local function first(name, from)
  return tonumber(redis.call('ZRANGEBYSCORE', session.key(name), from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
end

-- What stands in a sorted set up to now, lowest first: at least `most`, and what is level with the last of these.
local function passed(key, most)
  local now = session.whole(session.now)
  local flat = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
  if #flat == 2 * most then
    flat = redis.call('ZRANGEBYSCORE', key, '-inf', flat[2 * most], 'WITHSCORES')
  end
  return flat
end

-- The next `most` tasks for which the time has come, in order: those that wait, and those whose leases are over.
function timers.due(most)
  local found = {}
  local due = passed(session.key('due'), most)
  for at = 1, #due, 2 do
    found[#found + 1] = { at = due[at + 1] + 0, id = due[at]:sub(18) }
  end
  for _, agent in ipairs(redis.call('ZRANGEBYSCORE', session.key('leases'), '-inf', session.whole(session.now))) do
    local ended = passed(session.key('agent:') .. agent .. ':active', most)
    for at = 1, #ended, 2 do
      found[#found + 1] = { at = ended[at + 1] + 0, id = ended[at] }
    end
  end
  table.sort(found, function(one, other) return one.at < other.at end)
  local tasks, last = {}, found[most] or found[#found]
  for at, each in ipairs(found) do
    if each.at > last.at then
      break
    end
    each.t = rows.load(each.id)
    tasks[at] = each
  end
  table.sort(tasks, function(one, other)
    return one.at < other.at or (one.at == other.at and one.t.number < other.t.number)
  end)
  local rung = {}
  for at = 1, math.min(#tasks, most) do
    rung[at] = tasks[at].t
  end
  return rung
end

-- The earliest of all timers; nil when there is none.
function timers.next_due()
  if session.walks > 0 then
    return session.now
  end
  local _, lease = indexes.first_lease()
  local at = math.min(
    lease or math.huge,
    first('due', '-inf') or math.huge,
    first('limits:open', '(0') or math.huge,
    first('schedules:due', '-inf') or math.huge
  )
  return at < math.huge and at or nil
end
