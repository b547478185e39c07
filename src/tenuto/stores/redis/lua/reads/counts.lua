-- How many tasks each agent has in each list (pieces/indexes.lua).
--
-- KEYS[1]  <prefix>store
-- Returns for each agent: its name, then blocked, ready, scheduled, active, waiting, done, failed, cancelled, paused.

local prefix, answer = KEYS[1]:sub(1, -6), {}
for at, agent in ipairs(redis.call('SMEMBERS', prefix .. 'agents')) do
  local counts = { agent }
  for list in ('blocked ready scheduled active waiting done failed cancelled paused'):gmatch('%S+') do
    counts[#counts + 1] = redis.call('ZCARD', prefix .. 'agent:' .. agent .. ':' .. list)
  end
  answer[at] = counts
end
return answer
