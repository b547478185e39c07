-- The limits that are defined (pieces/limits.lua).
--
-- KEYS[1]  <prefix>store
-- Returns for each: key, concurrency, rate, period, burst, used, tat, how many tasks are parked behind it.

local prefix, answer = KEYS[1]:sub(1, -6), {}
for at, key in ipairs(redis.call('SMEMBERS', prefix .. 'limits')) do
  local fields = redis.call('HMGET', prefix .. 'limit:' .. key, 'concurrency', 'rate', 'period', 'burst', 'used', 'tat')
  table.insert(fields, 1, key)
  local parked = 0
  for _, agent in ipairs(redis.call('SMEMBERS', prefix .. 'gate:' .. key)) do
    local escaped = agent:gsub('[%%:]', { ['%'] = '%25', [':'] = '%3A' })
    parked = parked + redis.call('ZCARD', prefix .. 'parked:' .. escaped .. ':' .. key)
  end
  fields[8] = parked
  answer[at] = fields
end
return answer
