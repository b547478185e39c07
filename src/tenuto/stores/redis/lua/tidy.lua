-- needs: session, rows, indexes, events, lanes, limits, books, shares, rates, lines, calls, money, transitions, waits, timers
-- The rest of a sweep: room behind limits, and what was remembered long enough.
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: {idempotency keys older than this, at most so many, workers not
-- seen since}
-- Returns how many limits were looked at, how many keys forgotten, and when the next timer is due.

local again = session.begin()
if again then
  return again
end
local request = cmsgpack.unpack(ARGV[4])
local looked_at = limits.put_back()
rows.write()
limits.write()

local forgotten, left = 0, request[2]
local oldest = left > 0 and redis.call('ZRANGE', session.key('keys:age'), 0, left - 1) or {}
for _, field in ipairs(oldest) do
  local at = cjson.decode(redis.call('HGET', session.key('keys'), field))[2]
  if at >= request[1] then
    break
  end
  redis.call('HDEL', session.key('keys'), field)
  redis.call('ZREM', session.key('keys:age'), field)
  forgotten = forgotten + 1
end

local seen = session.key('workers:seen')
local away = redis.call('ZRANGEBYSCORE', seen, '-inf', '(' .. session.whole(request[3]), 'LIMIT', 0, 1000)
if away[1] then
  redis.call('HDEL', session.key('workers'), unpack(away))
  redis.call('ZREM', seen, unpack(away))
end
return session.finish({ looked_at, forgotten, timers.next_due() or false })
