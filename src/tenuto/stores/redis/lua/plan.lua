-- needs: session, rows, families, indexes, events, lanes, limits, books, shares, rates, lines, calls, money, transitions, waits, admission, submission, walks, ends, journal, revival
-- A retry that was to be planned is planned: see pieces/revival.lua.
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua; the token of the retry is who asks, so that whoever plans it too gets the
-- same answer. ARGV[4]: {root, size: how many nodes are revived, name and parts: under which they were sent ahead}
-- Returns what became of the retry, as `signal` does, and roots of trees with work left.

local again = session.begin()
if again then
  return again
end
local request = cmsgpack.unpack(ARGV[4])
local answer = revival.planned(request.root, ARGV[2], request)
rows.write()
limits.write()
return session.finish({ answer, walks.unfinished() })
