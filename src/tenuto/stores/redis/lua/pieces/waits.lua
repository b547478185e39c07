-- What tasks wait for (`tasks/waits.py`), and the messages that lie with them until they are consumed.
--
--   waits:<topic>   sorted set: id by number, of the tasks that wait for it
--   inbox:<id>      hash: number -> kind, topic and instant as JSON, a line break, the data as JSON
--   heard:<id>      set: keys under which messages came
--
-- In a task's hash: `expects` (its topics that have not come, JSON), `awaited` (somebody waited for its end), `mail`
-- (messages in its inbox), `mails` (messages so far).

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
    local other = awaited and rows.load(awaited)
    if other then
      rows.set(other, { awaited = '1' })
    end
  end
  rows.set(t, { expects = cjson.encode(topics) })
end

-- Who waits for a topic, in the order of submission; the first of them.
function waits.expecting(topic, most)
  return redis.call('ZRANGE', session.key('waits:') .. topic, 0, most - 1)
end

-- A topic has come for a task, which does not wait for it any more; false when it did not.
function waits.met(t, topic)
  if not t.expects then
    return false
  end
  local left, met = {}, false
  for _, each in ipairs(cjson.decode(t.expects)) do
    if each == topic then
      met = true
    else
      left[#left + 1] = each
    end
  end
  if met then
    redis.call('ZREM', session.key('waits:') .. topic, t.id)
    rows.set(t, { expects = left[1] and cjson.encode(left) or false })
  end
  return met
end

-- The wait of a task is over.
function waits.expect_nothing(t)
  if t.expects then
    for _, topic in ipairs(cjson.decode(t.expects)) do
      redis.call('ZREM', session.key('waits:') .. topic, t.id)
    end
    rows.set(t, { expects = false })
  end
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
