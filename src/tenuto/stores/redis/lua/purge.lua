-- needs: session, rows, families, indexes, events, walks, books, purging
-- Removes whole trees that are at rest, those first that ended first.
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: {before: by final state the instant before which the root ended,
-- most trees}
-- Returns how many trees were removed; whether it was worth stopping before there were no more; and roots of trees with
-- work left.

local again = session.begin()
if again then
  return again
end
local request = cmsgpack.unpack(ARGV[4])

-- The tree that ended first; its place and the set that it stands in.
local function next_root()
  local best, place, set
  for status, before in pairs(request.before) do
    local key = session.key('ended:') .. status
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    local at = tonumber(first[2])
    if at and at < before and (not best or at < best or (at == best and first[1] < place)) then
      best, place, set = at, first[1], key
    end
  end
  return place, set
end

local trees, busy = 0, nil
local place, set = next_root()
while place and trees < request.trees and walks.room() > 0 do
  local root = place:sub(18)
  if walks.is_left(root) then -- its end is not known yet to all whom it concerns
    busy = root
    break
  end
  redis.call('ZREM', set, place)
  purging.remove_tree(root)
  trees = trees + 1
  place, set = next_root()
end
purging.forget_agents()
local roots = walks.unfinished()
roots[#roots + 1] = busy
return session.finish({ trees, place ~= nil, roots })
