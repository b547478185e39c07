-- Workers that were seen lately.
--
-- KEYS[1]  <prefix>store   ARGV[1]  the instant of an injected clock, empty: the server's
-- ARGV[2]  how long ago, in ms
-- Returns the instant; then for each what is known of it, as JSON, and when it was seen.

local prefix = KEYS[1]:sub(1, -6)
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
now = math.max(now, tonumber(redis.call('HGET', KEYS[1], 'now') or 0))
local since = string.format('%.0f', now - tonumber(ARGV[2]))
local seen = redis.call('ZRANGEBYSCORE', prefix .. 'workers:seen', since, '+inf', 'WITHSCORES')
local answer = { string.format('%.0f', now) }
for at = 1, #seen, 2 do
  answer[#answer + 1] = { redis.call('HGET', prefix .. 'workers', seen[at]), seen[at + 1] }
end
return answer
