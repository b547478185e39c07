-- needs: session
-- Puts a schedule in the place of another, or takes it away.
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: {name, before, after, next_at}: as JSON, nil for none
-- Returns whether it was done: not when the schedule was another by then.

local again = session.begin()
if again then
  return again
end
local request = cmsgpack.unpack(ARGV[4])
local known = redis.call('HGET', session.key('schedules'), request.name) or nil
local same = known == request.before
if same then
  if request.after then
    redis.call('HSET', session.key('schedules'), request.name, request.after)
  else
    redis.call('HDEL', session.key('schedules'), request.name)
  end
  if request.next_at then
    redis.call('ZADD', session.key('schedules:due'), request.next_at, request.name)
  else
    redis.call('ZREM', session.key('schedules:due'), request.name)
  end
end
return session.finish(same)
