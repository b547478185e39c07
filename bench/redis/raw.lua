-- The least that a queue can do: stores the results of a batch and claims the next tasks.
--
-- KEYS[1]  list of ids that wait        KEYS[2]  prefix of tasks (hashes with payload, state, result)
-- ARGV[1]  most tasks to claim          ARGV[2…]  id and result of each task that is finished, in turns
-- Returns id and payload of each claimed task, in turns.

local prefix = KEYS[2]
for at = 2, #ARGV, 2 do
  redis.call('HSET', prefix .. ARGV[at], 'state', 'done', 'result', ARGV[at + 1])
end
local claimed = {}
for _, id in ipairs(redis.call('LPOP', KEYS[1], ARGV[1]) or {}) do
  local key = prefix .. id
  redis.call('HSET', key, 'state', 'running')
  claimed[#claimed + 1] = id
  claimed[#claimed + 1] = redis.call('HGET', key, 'payload')
end
return claimed
