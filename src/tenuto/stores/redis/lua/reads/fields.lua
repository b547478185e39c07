-- Fields of several hashes.
--
-- KEYS[1]  <prefix>store
-- ARGV     hashes, without the prefix, and one field of each in turns
-- Returns the values, false for none.

local found = {}
for at = 1, #ARGV, 2 do
  found[#found + 1] = redis.call('HGET', KEYS[1]:sub(1, -6) .. ARGV[at], ARGV[at + 1])
end
return found
