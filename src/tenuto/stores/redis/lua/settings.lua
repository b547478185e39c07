-- needs: session, rows, indexes, events, lanes, limits, books, shares, rates, lines, calls, money, transitions, waits, admission, submission
-- What operators set: limits and weights.
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: {define: a limit}, {drop: its key} or {owner, weight}
-- Returns whether there was something to drop.

local again = session.begin()
if again then
  return again
end

-- Nothing holds the tasks behind a limit any more.
local function drop(key)
  local usage = limits.usage(key)
  if not usage.defined then
    return false
  end
  for _, each in ipairs(limits.parked_agents(key)) do
    for _, t in ipairs(limits.parked(key, each[1], each[2])) do
      limits.apply(t, transitions.park, nil)
    end
  end
  books.start_afresh(key)
  limits.set(usage, { concurrency = false, rate = false, period = false, burst = false, tat = 0, opens = false })
  return true
end

local request, dropped = cmsgpack.unpack(ARGV[4]), false
if request.define then
  submission.define(request.define)
elseif request.drop then
  dropped = drop(request.drop)
else
  redis.call('HSET', session.key('weights'), request.owner, string.format('%.17g', request.weight))
end
rows.write()
limits.write()
return session.finish(dropped)
