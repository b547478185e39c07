-- needs: session, rows, families, indexes, events, lanes, limits, books, shares, rates, lines, calls, money, transitions, waits, admission, submission, walks, ends, journal, revival, purging
-- Goes on with work on a tree that is left over (pieces/walks.lua).
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: the root of the tree, or nil: the one that waits longest
-- Returns whether nothing is left of it; where none was named, of any. Then, where a retry is to be planned first, its
-- root, its token and its node.

local again = session.begin()
if again then
  return again
end
local named = cmsgpack.unpack(ARGV[4])
local root = named or walks.first()
local done = not (root and walks.is_left(root)) or walks.go_on(root)
purging.forget_agents()
rows.write()
limits.write()
local wish = not done and walks.first_of(root)
local plan = wish and wish.act == 'retry' and { root, wish.token, wish.only or false }
return session.finish({ done and (named ~= nil or session.walks == 0), plan })
