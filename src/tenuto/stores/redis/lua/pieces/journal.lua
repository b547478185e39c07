-- Journals: the steps of a task.
--
--   journal:<id>   hash: key -> {"n": its place, "at", "attempt", "position", "state"}, a line break, the error as JSON
--                  or nothing, a line break, the value as JSON or nothing

journal = {}

local function key_of(t)
  return session.key('journal:') .. t.id
end

-- A step by its key: {head, error, value}; nil when there is none.
function journal.step(t, key)
  local text = redis.call('HGET', key_of(t), key)
  if not text then
    return nil
  end
  local head, error, value = text:match('^([^\n]*)\n([^\n]*)\n(.*)$')
  return { cjson.decode(head), error, value }
end

-- Stores a step. `head`: position, state, attempt, and n where it has a place already.
function journal.put(t, key, head, error, value)
  local n = head.n
  if not n then
    n = (t.stepped or 0) + 1
    rows.set(t, { stepped = n })
  end
  local text = string.format(
    '{"n":%d,"at":%.0f,"attempt":%d,"position":%d,"state":"%s"}\n',
    n, session.now, head.attempt, head.position, head.state
  )
  redis.call('HSET', key_of(t), key, text .. error .. '\n' .. value)
end

function journal.drop(t, key)
  redis.call('HDEL', key_of(t), key)
end

function journal.drop_all(t)
  redis.call('DEL', key_of(t))
end
