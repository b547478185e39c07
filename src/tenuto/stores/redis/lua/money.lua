-- needs: session, rows, indexes, events, lanes, limits, transitions, waits, books, shares, rates, lines, calls, money
-- What is said of money beside records: budgets, pauses of rates, settlements by others than the task's worker.
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: one of
--   {put: scope, period, kind and name of the scope, budget}   returns whether there is such a task or tree
--   {drop: scope, period}                                      returns whether there was one
--   {slow: key, delay in ms}                                   returns until when
--   {settle: task, settlements}                                returns for each whether it was settled now

local again = session.begin()
if again then
  return again
end

local asked = {}

function asked.put(scope, period, kind, name, budget)
  local t = (kind == 'task' or kind == 'tree') and rows.load(name)
  if t == false and (kind == 'task' or kind == 'tree') or (kind == 'tree' and rows.root_of(t) ~= name) then
    return false
  end
  books.put_budget(scope, period, budget)
  lines.call_all(scope, period)
  return true
end

function asked.drop(scope, period)
  lines.call_all(scope, period)
  redis.call('HDEL', session.key('lines'), scope .. '\31' .. period)
  return redis.call('HDEL', session.key('budgets'), scope .. '\31' .. period) == 1
end

function asked.slow(key, delay)
  return books.slow(key, delay)
end

function asked.settle(id, settles)
  local t, done = rows.load(id), {}
  local plan = t and money.plan(t)
  for at, settle in ipairs(settles) do
    done[at] = plan and money.settle(plan, settle, false) or false
  end
  if plan then
    money.write(plan)
  end
  return done
end

local request = cmsgpack.unpack(ARGV[4])
local answer = asked[request[1]](unpack(request, 2))
rows.write()
limits.write()
return session.finish(answer)
