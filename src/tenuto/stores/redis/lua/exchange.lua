-- needs: session, rows, families, indexes, events, lanes, limits, books, shares, rates, lines, calls, money, transitions, waits, admission, walks, ends, holds, outcomes, claims, timers
-- Commits what a worker reports, and claims its next tasks.
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: {worker, outcomes, claim or nil}
-- Returns answers, leases, whether to ask again at once, when the next timer is due, the instant, and roots of trees
-- with work left.

local again = session.begin()
if again then
  return again
end
local request = cmsgpack.unpack(ARGV[4])
local answers, leases, more = {}, {}, false
for at, outcome in ipairs(request.outcomes) do
  answers[at] = outcomes.commit(outcome)
end
if request.claim then
  leases, more = claims.claim(request.worker, request.claim)
end
rows.write()
limits.write()
return session.finish({ answers, leases, more, timers.next_due() or false, session.now, walks.unfinished() })
