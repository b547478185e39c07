-- When time changes something next.
--
--   schedules       hash: name -> the schedule as JSON;   schedules:due   sorted set: names by their next instant

timers = {}

local function first(name, from)
  return tonumber(redis.call('ZRANGEBYSCORE', session.key(name), from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
end

-- The earliest of all timers; nil when there is none.
function timers.next_due()
  local at = math.min(
    first('due', '-inf') or math.huge,
    first('limits:open', '(0') or math.huge,
    first('schedules:due', '-inf') or math.huge
  )
  return at < math.huge and at or nil
end
