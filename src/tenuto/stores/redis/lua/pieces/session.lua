-- One request at work: the clock, the cursor of the feed, what is written at the end, and the answer.
--
-- KEYS[1]  <prefix>store   hash: now (ms), cursor (of the last event), submitted (tasks so far), hinted (when a script
--          last published a hint, in microseconds), walks (trees with work left: pieces/walks.lua)
-- ARGV[1]  the instant of an injected clock in ms; empty: the server's own
-- ARGV[2]  who asks (a worker, or one request of a client)   ARGV[3]  the number of the request, 0 where it has none
-- ARGV[4]  what is asked, as msgpack       ARGV[5]  the name under which its client publishes hints
--
--   reply:<who>   string: the number of the last request and the answer that it got. Of a worker for ten minutes; of a
--                 client, who repeats a request for some seconds only, for one
--   hints         channel: hints as JSON (`stores/redis/hints.py`)
--
-- All keys begin with the prefix and lie in the hash slot of KEYS[1].

session = {}

local REPLIES_LAST = { worker = 600000, client = 60000 }
local SPACING = 2000 -- microseconds between two hints that scripts publish
local MOST_NAMED = 256
local MOST_ARGUMENTS = 1000
local FOUR = '\148' -- how an array of four begins in msgpack

local begins = {}
local runs, gone, texts
local micros -- of the server's clock
local hinted

-- Has `begin` run now, and when a request begins: what a piece knows of the last one is forgotten. A server that keeps
-- functions keeps the pieces as well.
function session.each_request(begin)
  begins[#begins + 1] = begin
  begin()
end

session.each_request(function()
  session.prefix = KEYS[1]:sub(1, -6)
  session.ready = {} -- agents with new claimable tasks
  session.told = {} -- tasks that ended, were paused or resumed, or got a message
  runs, gone, texts = {}, {}, {}
end)

-- A key of this store.
function session.key(name)
  return session.prefix .. name
end

-- A whole number as text, never with an exponent. Many are asked for again, and to write one takes the server longer
-- than to look it up.
function session.whole(number)
  local text = texts[number]
  if not text then
    text = string.format('%d', number)
    texts[number] = text
  end
  return text
end

-- Ends the script where this user may not run all that scripts which write run (PUBLISH may be refused). A right can be
-- taken away while a store is open, but not while a script runs: to find out in the middle would leave half of it done.
-- Redis 6.2 cannot be asked. It is asked for every request, so there is no loop.
local function check_rights()
  local may, key = redis.acl_check_cmd, KEYS[1]
  if may and not (
    may('TIME') and may('DEL', key) and may('EXISTS', key) and may('GET', key) and may('HGETALL', key)
    and may('HLEN', key) and may('LLEN', key) and may('PERSIST', key) and may('SMEMBERS', key) and may('UNLINK', key)
    and may('ZCARD', key) and may('HDEL', key, key) and may('HGET', key, key) and may('HMGET', key, key)
    and may('PEXPIRE', key, key) and may('RENAME', key, key) and may('RPUSH', key, key) and may('SADD', key, key)
    and may('SET', key, key) and may('SISMEMBER', key, key) and may('SREM', key, key) and may('XDEL', key, key)
    and may('ZREM', key, key) and may('ZSCORE', key, key) and may('HSET', key, key, key)
    and may('GETRANGE', key, key, key) and may('HSETNX', key, key, key) and may('LRANGE', key, key, key)
    and may('LSET', key, key, key) and may('LTRIM', key, key, key) and may('ZADD', key, key, key) and may('ZRANGE', key, key, key)
    and may('ZRANGEBYSCORE', key, key, key) and may('ZREMRANGEBYSCORE', key, key, key)
    and may('XADD', key, key, key, key)
  ) then
    error({ err = 'NOPERM this user may not run all commands any more that Tenuto needs' })
  end
end

-- Begins; the answer that this very request got before, if it did.
function session.begin()
  for _, begin in ipairs(begins) do
    begin()
  end
  check_rights()
  if ARGV[2] ~= '' then
    local key = session.key('reply:') .. ARGV[2]
    local answered = redis.call('GETRANGE', key, 0, 15) -- the answer itself may be large
    if answered ~= '' then
      local last, number = tonumber(answered), tonumber(ARGV[3])
      if number == last then
        return FOUR .. redis.call('GETRANGE', key, 16, -1) .. cmsgpack.pack(nil, false)
      elseif number < last then
        return cmsgpack.pack({ last })
      end
    end
  end
  local known = redis.call('HMGET', KEYS[1], 'now', 'cursor', 'submitted', 'hinted', 'walks')
  local time = redis.call('TIME')
  micros = time[1] * 1000000 + time[2]
  session.time = math.floor(micros / 1000)
  session.now = math.max(tonumber(ARGV[1]) or session.time, tonumber(known[1] or 0))
  session.cursor = tonumber(known[2] or 0)
  session.submitted = tonumber(known[3] or 0)
  hinted = tonumber(known[4] or 0)
  session.walks = tonumber(known[5] or 0)
  return nil
end

-- The cursor of the next event. It rises with time, so that one that was lost with the tail of a log is not used again.
function session.next_cursor()
  session.cursor = math.max(session.cursor + 1, session.now * 1000)
  return string.format('%d', session.cursor)
end

-- The number of the next task.
function session.next_number()
  session.submitted = session.submitted + 1
  return session.submitted
end

-- So many more trees have work left.
function session.count_walks(more)
  session.walks = session.walks + more
  redis.call('HSET', KEYS[1], 'walks', session.walks)
end

-- Deletes a key when the session is written.
function session.forget(key)
  gone[#gone + 1] = key
end

-- A command with any number of arguments behind its key; the sum of its answers.
function session.in_parts(command, key, list)
  local sum = 0
  for first = 1, #list, MOST_ARGUMENTS do
    sum = sum + redis.call(command, key, unpack(list, first, math.min(first + MOST_ARGUMENTS - 1, #list)))
  end
  return sum
end

-- Puts `member` into a sorted set, or takes it out (without a score, which is text), when the session is written: what
-- is alike and comes one after the other, at once.
function session.move(key, member, score)
  local run, command = runs[key], score and 'ZADD' or 'ZREM'
  if not run or run.command ~= command then
    if run then
      session.in_parts(run.command, key, run)
    end
    run = { command = command, last = 0 }
    runs[key] = run
  end
  local last = run.last
  if score then
    run[last + 1], run[last + 2], run.last = score, member, last + 2
  else
    run[last + 1], run.last = member, last + 1
  end
end

-- Writes what was put off.
function session.write_moves()
  for key, run in pairs(runs) do
    session.in_parts(run.command, key, run)
  end
  runs = {}
  for first = 1, #gone, MOST_ARGUMENTS do
    redis.call('DEL', unpack(gone, first, math.min(first + MOST_ARGUMENTS - 1, #gone)))
  end
  gone = {}
end

local function names(set)
  local list = {}
  for name in pairs(set) do
    list[#list + 1] = name
  end
  return list
end

-- Publishes a hint, at the very commit; whether it did. Soon after another one, and where it would be long, the client
-- does so, for all that comes within a few milliseconds. The right to publish may have been taken away since the store
-- was opened: that stops no commit half way.
local function publish(ready, told)
  if ARGV[1] ~= '' or micros - hinted < SPACING or #ready + #told == 0 or #told > MOST_NAMED then
    return false
  end
  local hint = { from = ARGV[5], ready = ready[1] and ready, tasks = told[1] and told }
  local heard = redis.pcall('PUBLISH', session.key('hints'), cjson.encode(hint))
  if type(heard) == 'table' then
    return false
  end
  hinted = micros
  return true
end

-- Keeps and returns the answer: {answer, agents with new tasks, tasks that somebody may wait for, whether a hint of
-- these was published}. One that is given again names no tasks: any may be meant.
function session.finish(answer)
  local ready, told = names(session.ready), names(session.told)
  local published = publish(ready, told)
  redis.call(
    'HSET', KEYS[1], 'now', session.whole(session.now), 'cursor', session.whole(session.cursor),
    'submitted', session.submitted, 'hinted', session.whole(hinted)
  )
  local kept = cmsgpack.pack(answer, ready)
  if ARGV[2] ~= '' then
    local key = session.key('reply:') .. ARGV[2]
    local last = ARGV[3] == '0' and REPLIES_LAST.client or REPLIES_LAST.worker
    redis.call('SET', key, string.format('%016d', ARGV[3]) .. kept, 'PX', last)
  end
  return FOUR .. kept .. cmsgpack.pack(told, published)
end
