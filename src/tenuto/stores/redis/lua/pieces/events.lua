-- The feed: what happened, in order.
--
--   events          stream, entries <cursor>-0, one field: task -> {"seq", "kind", "at", "attempt", "owner", "data"}.
--                   One field, because the server pays for each
--   feed:<root>     stream, entries <cursor>-0 of one tree: task. Only of trees with more than one task
--   cursors:<id>    list: cursors of a task's older events, 64 to an entry; the latest are in the task's trail

events = {}

local whole = session.whole
local MOST_IN_ROW = 1150 -- characters: about 64 cursors

-- Text as JSON.
function events.quote(text)
  return cjson.encode(text)
end

local EVENTS, quoted

session.each_request(function()
  EVENTS, quoted = session.key('events'), {}
end)

local function quoted_owner(owner)
  local text = quoted[owner]
  if not text then
    text = events.quote(owner)
    quoted[owner] = text
  end
  return text
end

-- Appends an event without touching the task; its cursor.
function events.append(id, root, seq, kind, attempt, owner, data)
  local cursor = session.next_cursor()
  redis.call(
    'XADD', EVENTS, cursor, id, '{"seq":' .. whole(seq) .. ',"kind":"' .. kind .. '","at":' .. whole(session.now)
      .. ',"attempt":' .. whole(attempt) .. ',"owner":' .. quoted_owner(owner) .. ',"data":' .. data .. '}'
  )
  if root then
    redis.call('XADD', session.key('feed:') .. root, cursor, 'task', id)
  end
  return cursor
end

-- Appends an event of a task. `data`: JSON, "{}" where left out.
function events.tell(t, kind, data)
  local seq = (t.seq or 0) + 1
  local root = t.root or (t.kids and t.id)
  local cursor = events.append(t.id, root, seq, kind, t.attempt or 0, t.owner or '', data or '{}')
  local cursors = t.cursors and t.cursors .. ',' .. cursor or cursor
  if #cursors > MOST_IN_ROW then
    redis.call('RPUSH', session.key('cursors:') .. t.id, cursors)
    cursors = nil
  end
  rows.tell(t, seq, cursors)
end

-- The cursors of a task's events, in order.
function events.cursors_of(t)
  local found = {}
  local parts = redis.call('LRANGE', session.key('cursors:') .. t.id, 0, -1)
  parts[#parts + 1] = t.cursors
  for _, part in ipairs(parts) do
    for cursor in part:gmatch('%d+') do
      found[#found + 1] = cursor
    end
  end
  return found
end

-- A task gets its first child: from now on it has a list, and its tree, where it is the root, a feed.
function events.begin_family(t)
  if t.kids then
    return
  end
  if not t.root then
    for _, cursor in ipairs(events.cursors_of(t)) do
      redis.call('XADD', session.key('feed:') .. t.id, cursor, 'task', t.id)
    end
  end
  rows.set(t, { kids = '1' })
end
