-- A part of a hash.
--
-- KEYS[1]  <prefix>store      ARGV[1]  the hash, without the prefix    ARGV[2]  where to go on, "0" at first
-- ARGV[3]  pattern of fields  ARGV[4]  about how many fields to look at
-- Returns where to go on ("0": nowhere), and fields and values in turns.

return redis.call('HSCAN', KEYS[1]:sub(1, -6) .. ARGV[1], ARGV[2], 'MATCH', ARGV[3], 'COUNT', ARGV[4])
