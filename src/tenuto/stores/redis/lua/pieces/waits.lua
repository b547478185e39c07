-- What tasks wait for (`tasks/waits.py`), and the messages that lie with them until they are consumed.
--
--   waits:<topic>   sorted set: id by number, of the tasks that wait for it
--   expects:<id>    set: topics for which a task waits, and that have not come
--   inbox:<id>      hash: number -> kind, topic and instant as JSON, a line break, the data as JSON
--   heard:<id>      set: keys under which messages came
--
-- In a task's hash: `expects` (it waits for topics), `awaited` (somebody waited for its end), `mail` (messages in its
-- inbox), `mails` (messages so far).

waits = {}

local NONE = {}

-- A task waits for topics.
function waits.expect(t, topics)
  if not topics[1] then
    return
  end
  for _, topic in ipairs(topics) do
    redis.call('ZADD', session.key('waits:') .. topic, t.number, t.id)
    local awaited = topic:match('^task:(.*)$')
    if awaited then
      rows.mark_awaited(awaited)
    end
  end
  session.in_parts('SADD', session.key('expects:') .. t.id, topics)
  rows.set(t, { expects = '1' })
end

-- Who waits for a topic, in the order of submission; the first of them.
function waits.expecting(topic, most)
  return redis.call('ZRANGE', session.key('waits:') .. topic, 0, most - 1)
end

-- A topic has come for a task, which does not wait for it any more; false when it did not.
function waits.met(id, topic)
  redis.call('ZREM', session.key('waits:') .. topic, id)
  return redis.call('SREM', session.key('expects:') .. id, topic) == 1
end

-- The wait of a task is over.
function waits.expect_nothing(t)
  if t.expects then
    local key = session.key('expects:') .. t.id
    for _, topic in ipairs(redis.call('SMEMBERS', key)) do
      redis.call('ZREM', session.key('waits:') .. topic, t.id)
    end
    redis.call('UNLINK', key)
    rows.set(t, { expects = false })
  end
end

-- `topic` has come for a waiting task. What it waits for may be long, so that it is read only to be woken.
function waits.come(id, topic)
  if not waits.met(id, topic) or rows.status(id) ~= 'waiting' or rows.need_less(id) then
    return
  end
  local t = rows.load(id)
  waits.expect_nothing(t)
  limits.apply(t, transitions.wake, 'came: ' .. topic)
end

-- Whether the end that this topic names has come already: that of a task which is final, or unknown.
function waits.has_ended(topic)
  local id = topic:match('^task:(.*)$')
  local t = id and session.walks > 0 and rows.load(id)
  if t then
    walks.settle(t)
  end
  local status = id and rows.status(id)
  return id and (not status or rows.is_final({ status = status }))
end

-- -- inboxes

-- The messages that were not consumed, in order: {number, text}.
function waits.inbox(t)
  if not t.mail then
    return NONE
  end
  local found, flat = {}, redis.call('HGETALL', session.key('inbox:') .. t.id)
  for at = 1, #flat, 2 do
    found[#found + 1] = { tonumber(flat[at]), flat[at + 1] }
  end
  table.sort(found, function(one, other) return one[1] < other[1] end)
  return found
end

-- The first line of a message: kind, topic, at.
function waits.head(message)
  return cjson.decode(message[2]:match('^[^\n]*'))
end

-- Whether one of those is steering, with a number above `after`.
function waits.steered(t, after)
  if t.mail and t.mails > after then
    for _, message in ipairs(waits.inbox(t)) do
      if message[1] > after and waits.head(message).kind == 'steer' then
        return true
      end
    end
  end
  return false
end

function waits.has_key(t, key)
  return redis.call('SISMEMBER', session.key('heard:') .. t.id, key) == 1
end

-- Puts a message into a task's inbox; its number.
function waits.tell(t, kind, topic, data, key)
  local number = (t.mails or 0) + 1
  local head = '{"kind":' .. events.quote(kind) .. ',"topic":' .. events.quote(topic)
  head = head .. ',"at":' .. session.whole(session.now) .. '}'
  redis.call('HSET', session.key('inbox:') .. t.id, number, head .. '\n' .. data)
  if key then
    redis.call('SADD', session.key('heard:') .. t.id, key)
  end
  rows.set(t, { mails = number, mail = (t.mail or 0) + 1 })
  session.told[t.id] = true
  return number
end

-- Takes messages out of the inbox.
function waits.consume(t, numbers)
  if t.mail and numbers[1] then
    local taken = session.in_parts('HDEL', session.key('inbox:') .. t.id, numbers)
    rows.set(t, { mail = t.mail > taken and t.mail - taken })
  end
end
