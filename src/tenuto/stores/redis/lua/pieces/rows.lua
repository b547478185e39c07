-- Tasks as hashes.
--
--   task:<id>        hash: the fields of `stores/redis/codec.py`; an empty value means "none". One of them is the trail:
--                    what only the engine asks for, as one text, because the server pays for each field
--   task:<id>:lock   string: the worker, expires with the lease. For eyes only
--
-- Changes are kept until `rows.write`, which writes each row once, and has the indexes follow.

rows = {}

local whole = session.whole

local FINAL = { done = true, failed = true, cancelled = true }
local NUMBERS = {
  priority = true, band = true, run_at = true, deadline = true, attempt_timeout = true, timeout = true, run = true,
  epoch = true, attempt = true, failures = true, losses = true, unmet = true, nonce = true, lease_expires = true,
  expires_at = true, wakes_at = true, steps = true, mail = true, mails = true, stepped = true, open = true,
}
-- What every task may have. Of one that has more, the trail says so.
local PLAIN = {
  agent = true, owner = true, title = true, payload = true, idempotency_key = true, status = true, created_at = true,
  since = true, attempt = true, worker = true, lease_expires = true, started_at = true, finished_at = true,
  artifacts = true,
}
local TRAIL = { number = true, seq = true, nonce = true, cursors = true }

local MOST_WRITTEN = 1000
local NEW = {} -- what the indexes know of a new task

local cache, touched, TASK
local byte, match = string.byte, string.match

session.each_request(function()
  cache, touched, TASK = {}, {}, session.key('task:')
end)

-- The key of a task's hash. None ends like that of a lock, whatever the id.
function rows.key(id)
  local last = byte(id, -1)
  if (last == 107 or last == 58) and id:find(':lock:*$') then -- "k" or ":"
    return TASK .. id .. ':'
  end
  return TASK .. id
end

-- The key of a task's lock.
function rows.lock(t)
  return TASK .. t.id .. ':lock'
end

-- A name inside a key that goes on behind it.
function rows.escape(name)
  if not name:find('[%%:]') then
    return name
  end
  return (name:gsub('[%%:]', { ['%'] = '%25', [':'] = '%3A' }))
end

function rows.is_final(t)
  return FINAL[t.status] == true
end

function rows.is_claimable(t)
  return t.status == 'ready' and not t.paused and not t.gate
end

function rows.root_of(t)
  return t.root or t.id
end

function rows.parent_of(t)
  return t.goal or t.parent
end

-- The trail: number (16 digits), events so far, nonce, whether the task has more than is plain, cursors of its latest
-- events.
local function read_trail(t)
  local number, seq, nonce, more, cursors = match(t.trail, '^(%d+) (%d+) (%d+) (.) (.*)$')
  t.counted, t.number, t.seq = number, number + 0, seq + 0
  t.place = number .. ':' .. t.id
  t.nonce = nonce ~= '0' and nonce + 0 or nil
  t.more = more == '+'
  t.cursors = cursors ~= '' and cursors or nil
end

local function trail_of(t)
  local nonce = t.nonce and whole(t.nonce) or '0'
  return t.counted .. ' ' .. whole(t.seq) .. ' ' .. nonce .. (t.more and ' + ' or ' - ') .. (t.cursors or '')
end

-- One task, or false. What most tasks have is named, here and below, which makes room for it
-- at once.
function rows.load(id)
  local t = cache[id]
  if t ~= nil then
    return t
  end
  local key = rows.key(id)
  local flat = redis.call('HGETALL', key)
  if #flat == 0 then
    cache[id] = false
    return false
  end
  t = {
    id = id, key = key, place = nil, counted = nil, number = nil, seq = nil, nonce = nil, more = nil, cursors = nil,
    trail = nil, agent = nil, owner = nil, payload = nil, status = nil, created_at = nil, since = nil, attempt = nil,
    worker = nil, lease_expires = nil, started_at = nil, finished_at = nil, artifacts = nil, was = nil, written = nil,
  }
  for at = 1, #flat, 2 do
    local name, value = flat[at], flat[at + 1]
    if value ~= '' then
      t[name] = NUMBERS[name] and value + 0 or value
    end
  end
  read_trail(t)
  cache[id] = t
  return t
end

-- A task for a report about it, or false: of a plain one, only what that looks at.
function rows.reported(id)
  local t = cache[id]
  if t ~= nil then
    return t
  end
  local key = rows.key(id)
  local known = redis.call('HMGET', key, 'trail', 'agent', 'owner', 'status', 'attempt', 'lease_expires')
  local trail, attempt, expires = known[1], known[5], known[6]
  if not trail then
    cache[id] = false
    return false
  elseif trail:find('+', 1, true) then
    return rows.load(id)
  end
  t = {
    id = id, key = key, brief = true, trail = trail, agent = known[2], owner = known[3] or nil, status = known[4],
    attempt = attempt and attempt + 0 or nil, lease_expires = expires and expires ~= '' and expires + 0 or nil,
    place = nil, counted = nil, number = nil, seq = nil, nonce = nil, more = nil, cursors = nil, finished_at = nil,
    artifacts = nil, was = nil, written = nil,
  }
  read_trail(t)
  cache[id] = t
  return t
end

-- A ready task at a place in a lane of that agent and owner, for a claim: of a plain one, only what that looks at.
-- What was changed has been written.
function rows.claimed(place, agent, owner)
  local id = place:sub(18)
  local t = cache[id]
  if t and t.brief then
    local known = redis.call('HMGET', t.key, 'payload', 'started_at')
    t.brief, t.payload, t.started_at = nil, known[1] or nil, known[2] ~= '' and known[2] or nil
  end
  if t ~= nil then
    return t
  end
  local key = rows.key(id)
  local known = redis.call('HMGET', key, 'trail', 'payload', 'attempt', 'started_at')
  local trail, attempt, started = known[1], known[3], known[4]
  if trail:find('+', 1, true) then
    return rows.load(id)
  end
  t = {
    id = id, key = key, place = nil, trail = trail, agent = agent, owner = owner ~= '' and owner or nil,
    status = 'ready', payload = known[2] or nil, attempt = attempt and attempt + 0 or nil,
    started_at = started ~= '' and started or nil, counted = nil, number = nil, seq = nil, nonce = nil, more = nil,
    cursors = nil, worker = nil, lease_expires = nil, was = nil, written = nil,
  }
  read_trail(t)
  cache[id] = t
  return t
end

-- Looks at once whether there are tasks of these ids: where there is none, it is known of each.
function rows.look_for(ids)
  local keys = {}
  for at, id in ipairs(ids) do
    keys[at] = rows.key(id)
  end
  if keys[1] and #keys <= MOST_WRITTEN and redis.call('EXISTS', unpack(keys)) == 0 then
    for _, id in ipairs(ids) do
      cache[id] = false
    end
  end
end

-- Whether there is a task under this id.
function rows.exists(id)
  local t = cache[id]
  if t ~= nil then
    return t ~= false
  end
  return redis.call('EXISTS', rows.key(id)) == 1
end

-- The task at a place, which exists.
function rows.at(place)
  return rows.load(place:sub(18))
end

-- The fields of a task that will be written, behind its key; there is room for those of most changes.
local function begin(t)
  if not t.was then
    t.was = indexes.noted(t)
    touched[#touched + 1] = t
  end
  local written = { t.key, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, last = 1, trail = nil }
  t.written = written
  return written
end

-- Changes a field: a value, or false for none.
function rows.put(t, name, value)
  if not value and t[name] == nil then
    return
  end
  local written = t.written
  if not written then
    written = begin(t)
  end
  t[name] = value or nil
  if not PLAIN[name] then
    if TRAIL[name] then
      written.trail = true
      return
    elseif not t.more then
      t.more, written.trail = true, true
    end
  end
  local last = written.last
  written[last + 1], written[last + 2] = name, type(value) == 'number' and whole(value) or value or ''
  written.last = last + 2
  if last > MOST_WRITTEN then
    redis.call('HSET', unpack(written))
    t.written = { t.key, last = 1, trail = written.trail }
  end
end

-- One event more: how many there are, and the cursors of the latest.
function rows.tell(t, seq, cursors)
  local written = t.written or begin(t)
  t.seq, t.cursors, written.trail = seq, cursors, true
end

-- Changes fields.
function rows.set(t, values)
  local put = rows.put
  for name, value in pairs(values) do
    put(t, name, value)
  end
end

-- A new task, from fields and values in turns and what its trail tells; it is written at once, its indexes with the
-- others.
function rows.insert(id, flat, t)
  t.id, t.key, t.was, t.fresh = id, rows.key(id), NEW, true
  t.counted = string.format('%016d', t.number)
  t.place = t.counted .. ':' .. id
  local last = #flat
  for at = 1, last, 2 do
    if not PLAIN[flat[at]] then
      t.more = true
      break
    end
  end
  flat[last + 1], flat[last + 2] = 'trail', trail_of(t)
  cache[id] = t
  touched[#touched + 1] = t
  redis.call('HSET', t.key, unpack(flat))
end

-- Writes what was changed, so that queries see it.
function rows.write()
  local at = 1
  while touched[at] do -- the list grows: a task's end is noted with its root
    local t = touched[at]
    local was, written = t.was, t.written
    t.was, t.written = nil, nil
    if written then
      local last = written.last
      if written.trail then
        written[last + 1], written[last + 2] = 'trail', trail_of(t)
      end
      if written[2] then
        redis.call('HSET', unpack(written))
      end
    end
    if t.fresh then
      t.fresh = nil
      indexes.enter(t)
    end
    indexes.update(t, was)
    at = at + 1
  end
  touched = {}
  indexes.write()
  session.write_moves()
end

-- The state of a task that exists.
function rows.status(id)
  local t = cache[id]
  return t and t.status or redis.call('HGET', rows.key(id), 'status')
end

-- Somebody waits for the end of a task.
function rows.mark_awaited(id)
  local t = cache[id]
  if t == nil then
    local trail = redis.call('HGET', rows.key(id), 'trail')
    if trail and trail:find('+', 1, true) then
      redis.call('HSET', rows.key(id), 'awaited', '1')
      return
    end
    t = rows.load(id)
  end
  if t then
    rows.put(t, 'awaited', '1')
  end
end

-- A task has one thing less to wait for; false where it is the last one, which is left.
function rows.need_less(id)
  local t = cache[id]
  local unmet = tonumber(t and t.unmet or redis.call('HGET', rows.key(id), 'unmet')) or 0
  if unmet <= 1 then
    return false
  elseif t then
    rows.put(t, 'unmet', unmet - 1)
  else
    redis.call('HSET', rows.key(id), 'unmet', whole(unmet - 1))
  end
  return true
end
