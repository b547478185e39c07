-- A part of the feed (pieces/events.lua).
--
-- KEYS[1]  <prefix>store
-- ARGV[1]  {after: a cursor, limit, most: entries to look at, and the filters: task, root, owner, kinds}, as msgpack
-- Returns the cursor from which to go on and 1 when there is more to look at; then the entries that match.

local prefix, where = KEYS[1]:sub(1, -6), cmsgpack.unpack(ARGV[1])

local function row_of(id, ...)
  return redis.call('HMGET', prefix .. 'task:' .. id .. (id:find(':lock:*$') and ':' or ''), ...)
end

local function cursors_of(id)
  local parts, found = redis.call('LRANGE', prefix .. 'cursors:' .. id, 0, -1), {}
  parts[#parts + 1] = (row_of(id, 'trail')[1] or ''):match('%S*$')
  for _, part in ipairs(parts) do
    for cursor in part:gmatch('%d+') do
      if tonumber(cursor) > where.after then
        found[#found + 1] = cursor .. '-0'
      end
    end
  end
  return found
end

local start = '(' .. string.format('%.0f', where.after) .. '-0'

local function entry(id)
  return redis.call('XRANGE', prefix .. 'events', id, id)[1]
end

-- The next entries, at most `where.most`, and whether these were all.
local function next_entries()
  local ids, found = nil, {}
  if where.task then
    ids = cursors_of(where.task)
  elseif where.root and redis.call('EXISTS', prefix .. 'feed:' .. where.root) == 0 then
    ids = row_of(where.root, 'root')[1] and {} or cursors_of(where.root)
  elseif where.root then
    ids = {}
    for at, each in ipairs(redis.call('XRANGE', prefix .. 'feed:' .. where.root, start, '+', 'COUNT', where.most)) do
      ids[at] = each[1]
    end
  else
    found = redis.call('XRANGE', prefix .. 'events', start, '+', 'COUNT', where.most)
    return found, #found < where.most
  end
  for at = 1, math.min(#ids, where.most) do
    found[at] = entry(ids[at])
  end
  return found, #found < where.most
end

local kinds
for _, kind in ipairs(where.kinds or {}) do
  kinds = kinds or {}
  kinds[kind] = true
end

local owner = where.owner and cjson.encode(where.owner) .. ',"data":'

local function matches(text)
  if where.task and where.root and (row_of(where.task, 'root')[1] or where.task) ~= where.root then
    return false
  elseif not where.owner and not kinds then
    return true
  end
  local kind, from = text:match('^{"seq":%d+,"kind":"(%a+)",[^,]+,[^,]+,"owner":()')
  return (not owner or text:sub(from, from + #owner - 1) == owner) and (not kinds or kinds[kind])
end

local entries, all = next_entries()
local last = tonumber(redis.call('HGET', KEYS[1], 'cursor') or 0)
local answer = { string.format('%.0f', math.max(where.after, last)), 0 }
for at, each in ipairs(entries) do
  if matches(each[2][2]) then
    answer[#answer + 1] = each
  end
  if #answer - 2 == where.limit or (at == #entries and not all) then
    answer[1], answer[2] = each[1]:match('^%d+'), #answer - 2 == where.limit and 0 or 1
    break
  end
end
return answer
