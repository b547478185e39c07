-- needs: session
-- Takes a part of a tree that is too large for one script; nobody sees it before the tree is submitted.
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: {name, number of the part from 1, the part}
--   staged:<name>   hash: number -> a part, as msgpack; for ten minutes
-- Returns nothing.

local again = session.begin()
if again then
  return again
end
local request = cmsgpack.unpack(ARGV[4])
local key = session.key('staged:') .. request[1]
redis.call('HSET', key, request[2], request[3])
redis.call('PEXPIRE', key, 600000)
return session.finish(false)
