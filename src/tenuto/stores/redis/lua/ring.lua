-- needs: session, rows, families, indexes, events, lanes, limits, books, shares, money, transitions, waits, admission, walks, ends, timers
-- Tasks whose clocks have rung (`rules/sweep.py`): leases, delays, waits, deadlines.
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: {most tasks, most schedules}
-- Returns how many have rung; then, unless there are more, the schedules that are due, as JSON; the instant; and
-- roots of trees with work left.

local again = session.begin()
if again then
  return again
end

local function ring(t)
  if rows.is_final(t) then
    limits.apply(t, transitions.let_go)
  elseif transitions.out_of_time(t) then
    limits.apply(t, transitions.expire)
    if t.lease_expires and t.lease_expires <= session.now then
      limits.apply(t, transitions.let_go)
    end
    ends.ended(t, true)
  elseif t.status == 'running' then
    limits.apply(t, transitions.lose)
    if rows.is_final(t) then
      ends.ended(t)
    end
  elseif t.status == 'scheduled' then
    limits.apply(t, transitions.ripen)
  elseif t.status == 'waiting' then
    waits.expect_nothing(t)
    limits.apply(t, transitions.wake, 'due')
  end
end

local request = cmsgpack.unpack(ARGV[4])
local due = timers.due(request[1])
for _, t in ipairs(due) do -- one that rang before may have ended it
  walks.settle(t)
  local at = indexes.due(t)
  if at and at <= session.now then
    ring(t)
  end
end
local schedules = {}
local most = request[2] - #due
if #due < request[1] and most > 0 then
  local names = redis.call('ZRANGEBYSCORE', session.key('schedules:due'), '-inf', session.now, 'LIMIT', 0, most)
  for at, name in ipairs(names) do
    schedules[at] = redis.call('HGET', session.key('schedules'), name)
  end
end
rows.write()
limits.write()
return session.finish({ #due, schedules, session.now, walks.unfinished() })
