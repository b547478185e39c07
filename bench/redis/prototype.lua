-- The bare engine: stores results, claims the next tasks under a lease, and tells of both.
--
-- KEYS[1]  list of ids that wait           KEYS[2]  prefix of tasks (hashes: id, state, attempt, nonce, payload, result)
-- KEYS[3]  leases, a sorted set by expiry  KEYS[4]  the feed, a stream
-- ARGV[1]  now, ms   ARGV[2]  lease, ms   ARGV[3]  nonce of the new claims   ARGV[4]  most tasks to claim
-- ARGV[5…]  number, nonce and result of each task that is finished, in turns
-- Returns number, id and payload of each claimed task, in turns.

local prefix, leases, feed = KEYS[2], KEYS[3], KEYS[4]
for at = 5, #ARGV, 3 do
  local number, nonce, result = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local key = prefix .. number
  local held = redis.call('HMGET', key, 'state', 'nonce')
  if held[1] == 'running' and held[2] == nonce then
    redis.call('HSET', key, 'state', 'done', 'result', result)
    redis.call('ZREM', leases, number)
    redis.call('XADD', feed, '*', 'task', number, 'seq', 2, 'kind', 'done', 'at', ARGV[1])
  end
end
local claimed = {}
local want = tonumber(ARGV[4])
if want > 0 then
  local expires = tonumber(ARGV[1]) + tonumber(ARGV[2])
  for _, number in ipairs(redis.call('LPOP', KEYS[1], want) or {}) do
    local key = prefix .. number
    local task = redis.call('HMGET', key, 'id', 'payload', 'attempt')
    redis.call('HSET', key, 'state', 'running', 'nonce', ARGV[3], 'attempt', (tonumber(task[3]) or 0) + 1)
    redis.call('ZADD', leases, expires, number)
    redis.call('XADD', feed, '*', 'task', number, 'seq', 1, 'kind', 'started', 'at', ARGV[1], 'worker', 'w')
    local last = #claimed
    claimed[last + 1], claimed[last + 2], claimed[last + 3] = number, task[1], task[2]
  end
end
return claimed
