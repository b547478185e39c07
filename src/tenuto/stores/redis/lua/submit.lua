-- needs: session, rows, families, indexes, events, lanes, limits, books, shares, rates, lines, calls, money, transitions, waits, admission, walks, ends, submission
-- Stores trees, each whole or not at all.
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: trees
-- Returns for each true when it is a new single task, else see `submission.submit`; then roots of trees of these ids with work left.

local again = session.begin()
if again then
  return again
end
local created, answers, roots = {}, {}, {}
local trees, ids = cmsgpack.unpack(ARGV[4]), {}
for at, tree in ipairs(trees) do
  ids[at] = tree.id
end
rows.look_for(ids)
for at, tree in ipairs(trees) do
  local answer = submission.submit(tree, created)
  local root = answer[2]
  answers[at] = answer[1] == 'created' and not tree.size or answer
  if walks.is_left(root) then
    roots[#roots + 1] = root
  end
end
rows.write()
limits.write()
return session.finish({ answers, roots })
