-- needs: session, rows, families, indexes, events, lanes, limits, books, shares, rates, lines, calls, money, transitions, waits, walks, holds
-- Extends leases, and notes that the worker lives (`rules/record.py`).
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: {worker, its agents, what is known of it as JSON, holds, lease
-- in ms}
--   workers        hash: id -> what is known of it as JSON, but `seen_at`
--   workers:seen   sorted set: id by the instant at which it was seen
--   agent:<name>:registered, agent:<name>:heartbeat   strings, in ms, for an hour: when a worker was first seen that
--                  serves the agent, and when one was seen last. For eyes only
-- Returns for each hold: whether it is held, whether the task is paused, its inbox.

local again = session.begin()
if again then
  return again
end

local HOUR = 3600000
local request, answers = cmsgpack.unpack(ARGV[4]), {}
redis.call('HSET', session.key('workers'), request.worker, request.info)
redis.call('ZADD', session.key('workers:seen'), session.now, request.worker)
for _, agent in ipairs(request.agents) do
  local key = session.key('agent:') .. agent
  redis.call('SET', key .. ':heartbeat', session.whole(session.now), 'PX', HOUR)
  if not redis.call('SET', key .. ':registered', session.whole(session.now), 'NX', 'PX', HOUR) then
    redis.call('PEXPIRE', key .. ':registered', HOUR)
  end
end
for at, hold in ipairs(request.holds) do
  local t = rows.load(hold[1])
  if t then
    walks.settle(t)
  end
  if not t or t.status ~= 'running' or not holds.fits(t, hold[2], hold[3]) then
    answers[at] = { false, false, {} }
  else
    transitions.hold(t, request.lease)
    answers[at] = { true, t.paused ~= nil, waits.inbox(t) }
  end
end
rows.write()
limits.write()
return session.finish(answers)
