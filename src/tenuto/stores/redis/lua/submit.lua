-- needs: session, rows, indexes, events, lanes, limits, transitions, waits, admission, walks, ends, submission
-- Stores trees, each whole or not at all.
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: trees
-- Returns for each: see `submission.submit`.

local again = session.begin()
if again then
  return again
end
local created, answers = {}, {}
for at, tree in ipairs(cmsgpack.unpack(ARGV[4])) do
  answers[at] = submission.submit(tree, created)
end
rows.write()
limits.write()
return session.finish(answers)
