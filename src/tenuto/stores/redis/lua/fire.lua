-- needs: session, rows, families, indexes, events, lanes, limits, books, shares, rates, lines, calls, money, transitions, waits, admission, walks, ends, submission
-- Submits what a schedule has due, unless somebody else has done it.
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: {name, the schedule as it was, as it is afterwards, both as
-- JSON; its next instant or nil, trees}
-- Returns for each tree what became of it, or nothing where the schedule is another by now, or a tree
-- of such an id is still being removed.

local again = session.begin()
if again then
  return again
end
local request, answers = cmsgpack.unpack(ARGV[4]), {}
local free = true
for _, tree in ipairs(request.trees) do
  free = free and (rows.exists(tree.id) or not walks.is_left(tree.id))
end
if free and redis.call('HGET', session.key('schedules'), request.name) == request.before then
  local created = {}
  for at, tree in ipairs(request.trees) do
    answers[at] = submission.submit(tree, created)
  end
  redis.call('HSET', session.key('schedules'), request.name, request.after)
  if request.next_at then
    redis.call('ZADD', session.key('schedules:due'), request.next_at, request.name)
  else
    redis.call('ZREM', session.key('schedules:due'), request.name)
  end
end
rows.write()
limits.write()
return session.finish(answers)
