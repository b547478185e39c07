-- needs: session, rows, families, indexes, events, lanes, limits, books, shares, rates, lines, calls, money, transitions, waits, admission, walks, ends, timers
-- Tasks whose clocks have rung (`rules/sweep.py`): leases, delays, waits, deadlines.
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: {most tasks, most schedules}; behind a request that has stopped,
-- also how many were due then, and the places of those that are left
-- Returns how many are due; the schedules that are due, as JSON, unless there are more tasks; the instant; roots of trees
-- with work left; and the places of tasks that are left, since their trees have to be finished first.

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
local due, left, busy = {}, {}, nil
if request[4] then
  for _, place in ipairs(request[4]) do
    due[#due + 1] = rows.at(place) or nil
  end
else
  due = timers.due(request[1])
end
for _, t in ipairs(due) do -- one that rang before may have ended it
  local at = indexes.due(t)
  if busy or walks.is_left(rows.root_of(t)) then
    busy = busy or rows.root_of(t)
    left[#left + 1] = t.place
  elseif at and at <= session.now then
    ring(t)
  end
end
local count, schedules = request[3] or #due, {}
local most = request[2] - count
if not busy and count < request[1] and most > 0 then
  local names = redis.call('ZRANGEBYSCORE', session.key('schedules:due'), '-inf', session.now, 'LIMIT', 0, most)
  for at, name in ipairs(names) do
    schedules[at] = redis.call('HGET', session.key('schedules'), name)
  end
end
rows.write()
limits.write()
local roots = walks.unfinished()
roots[#roots + 1] = busy
return session.finish({ count, schedules, session.now, roots, left })
