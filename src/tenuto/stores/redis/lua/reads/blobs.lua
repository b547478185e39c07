-- Large values of a tree, as many as there is room for.
--
-- KEYS[1]  <prefix>store   ARGV  the root, the room in bytes, and keys
-- Returns the keys and values in turns, in the order of the keys, without those that are not there; the first one in any
-- case, and no more than have that many bytes together.

local blobs, room, found = KEYS[1]:sub(1, -6) .. 'blobs:' .. ARGV[1], tonumber(ARGV[2]), {}
for at = 3, #ARGV do
  local size = redis.call('HSTRLEN', blobs, ARGV[at])
  if size > 0 then
    room = room - size
    if room < 0 and #found > 0 then
      break
    end
    found[#found + 1] = ARGV[at]
    found[#found + 1] = redis.call('HGET', blobs, ARGV[at])
  end
end
return found
