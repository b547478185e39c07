-- Which of the commands that the scripts run are refused to this user. Changes nothing that stays.
--
-- KEYS[1]  <namespace>probe: a key that is gone afterwards
-- ARGV     a command and the number of its arguments, and so on
--
-- Rights are looked at before arguments: what is allowed complains of those instead, or of the type of the key.

local function refuses(answer)
  local text = type(answer) == 'table' and answer.err or ''
  return string.find(text, 'NOPERM', 1, true)
    or string.find(text, 'ACL failure', 1, true)
    or string.find(text, 'The user executing the script', 1, true)
end

local refused = {}
for at = 1, #ARGV, 2 do
  local words = { ARGV[at] }
  for _ = 1, tonumber(ARGV[at + 1]) do
    words[#words + 1] = KEYS[1]
  end
  if refuses(redis.pcall(unpack(words))) then
    refused[#refused + 1] = ARGV[at]
  end
end
redis.pcall('DEL', KEYS[1])
return refused
