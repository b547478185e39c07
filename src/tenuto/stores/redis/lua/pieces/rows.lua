-- Tasks as hashes, and every index that follows from what they say.
--
--   task:<id>             hash: the fields of `stores/redis/codec.py`; an empty value means "none"
--   task:<id>:lock        string: the worker, expires with the lease. For eyes only
--   tasks                 sorted set: id by number
--   agents                set: names of agents that have tasks
--   agent:<name>:<list>   sorted set: id by number, of tasks that are blocked, ready, scheduled, active (running),
--                         waiting, done, failed, cancelled; and paused: those of `ready` that are
--   goals:<state>         the same of goals
--   owner:<name>, tag:<name>      sorted sets: id by number
--   ready:<band>:<agent>:<owner>  sorted set, a lane: place by minus priority
--   parked:<agent>:<limit>        sorted set: place by minus priority;   gate:<limit>  set: agents of these
--   due                   sorted set: place by the next instant at which time alone changes a task
--   ended:<state>         sorted set: place of roots whose trees are at rest, by the instant of their end
--   unique:<state>:<key>  sorted set: id by number, of tasks with that unique key
--   children:<id>         sorted set: id by number;   tree:<root>  the same of every task below a root
--
-- A *place* is `<number, 16 digits>:<id>`: sets of equal scores are in the order of submission.
-- Changes are kept until `rows.write`, which compares each row with what it was and moves it in the indexes.

rows = {}

local FINAL = { done = true, failed = true, cancelled = true }
local NUMBERS = {}
for name in (
  'priority band run_at deadline attempt_timeout timeout run epoch attempt failures losses unmet nonce lease_expires ' ..
  'created_at since started_at finished_at expires_at wakes_at seq steps number mail mails stepped open'
):gmatch('%S+') do
  NUMBERS[name] = true
end

local MOST_WRITTEN = 1000
local NEW = {} -- what the indexes know of a new task

local cache, touched = {}, {}
local known_agents = {}

local TASK, AGENT, READY = session.key('task:'), session.key('agent:'), session.key('ready:')
local ENDED, DUE = session.key('ended:'), session.key('due')

-- The key of a task's hash. None ends like that of a lock, whatever the id.
function rows.key(id)
  local last = id:byte(-1)
  if (last == 107 or last == 58) and id:find(':lock:*$') then -- "k" or ":"
    return TASK .. id .. ':'
  end
  return TASK .. id
end

local PADS = {}
for size = 1, 16 do
  PADS[size] = string.rep('0', 16 - size)
end

local function place_of(number, id)
  local text = session.whole(number)
  return PADS[#text] .. text .. ':' .. id
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

-- One task, or false.
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
  t = {}
  for at = 1, #flat, 2 do
    local name, value = flat[at], flat[at + 1]
    if value ~= '' then
      t[name] = NUMBERS[name] and value + 0 or value
    end
  end
  t.id, t.key = id, key
  t.place = place_of(t.number, id)
  cache[id] = t
  return t
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

local function due(t)
  if t.lease_expires then
    return t.lease_expires
  elseif FINAL[t.status] then
    return nil
  end
  local at = t.deadline or math.huge
  if t.expires_at and not t.for_people then
    at = math.min(at, t.expires_at)
  end
  if t.status == 'scheduled' and t.run_at then
    at = math.min(at, t.run_at)
  end
  if t.status == 'waiting' and t.wakes_at then
    at = math.min(at, t.wakes_at)
  end
  return at < math.huge and at or nil
end

rows.due = due

local lists = {}

-- The list of an agent that a task stands in.
local function list_key(t, status)
  if t.kind == 'goal' then
    return session.key('goals:') .. status
  end
  local mine = lists[t.agent]
  if not mine then
    mine = {}
    lists[t.agent] = mine
  end
  local key = mine[status]
  if not key then
    key = AGENT .. t.agent .. (status == 'running' and ':active' or ':' .. status)
    mine[status] = key
  end
  return key
end

-- Where a ready task stands: in its lane, or behind a limit.
local function stand(t, status, paused, gate)
  if status ~= 'ready' or paused then
    return nil
  elseif gate then
    return session.key('parked:') .. rows.escape(t.agent) .. ':' .. gate
  end
  return READY .. (t.band and session.whole(t.band) or '0') .. ':' .. rows.escape(t.agent) .. ':' .. (t.owner or '')
end

local function is_busy(t)
  return not FINAL[t.status] or t.lease_expires ~= nil
end

local function rest_key(t)
  if t.root or is_busy(t) or (t.open or 0) > 0 then
    return nil
  end
  return ENDED .. t.status
end

local function touch(t)
  t.was = {
    status = t.status, paused = t.paused, gate = t.gate, priority = t.priority, due = due(t), busy = is_busy(t),
    rest = rest_key(t),
  }
  touched[#touched + 1] = t
end

-- Changes fields: a value, or false for none.
function rows.set(t, values)
  if not t.was then
    touch(t)
  end
  local written = t.written
  if not written then
    written = { t.key }
    t.written = written
  end
  local last = #written
  for name, value in pairs(values) do
    if value or t[name] ~= nil then
      t[name] = value or nil
      if type(value) == 'number' then
        value = session.whole(value)
      end
      written[last + 1], written[last + 2] = name, value or ''
      last = last + 2
    end
  end
  if last > MOST_WRITTEN then
    redis.call('HSET', unpack(written))
    t.written = nil
  end
end

-- A new task, from fields and values in turns; it is written at once, its indexes with the others.
function rows.insert(id, flat, t)
  t.id, t.key, t.was, t.fresh = id, rows.key(id), NEW, true
  t.place = place_of(t.number, id)
  cache[id] = t
  touched[#touched + 1] = t
  redis.call('HSET', t.key, unpack(flat))
end

local function index_fresh(t)
  session.move(session.key('tasks'), t.id, t.number)
  if t.agent and not known_agents[t.agent] then
    known_agents[t.agent] = true
    redis.call('SADD', session.key('agents'), t.agent)
  end
  if t.owner then
    session.move(session.key('owner:') .. t.owner, t.id, t.number)
  end
  if t.tags then
    for _, tag in ipairs(cjson.decode(t.tags)) do
      session.move(session.key('tag:') .. tag, t.id, t.number)
    end
  end
  if t.root then
    session.move(session.key('tree:') .. t.root, t.id, t.number)
    session.move(session.key('children:') .. rows.parent_of(t), t.id, t.number)
  end
end

local function index_stand(t, was)
  local before, now = stand(t, was.status, was.paused, was.gate), stand(t, t.status, t.paused, t.gate)
  if before then
    session.move(before, t.place, false)
  end
  if now then
    session.move(now, t.place, -(t.priority or 0))
    if t.gate then
      redis.call('SADD', session.key('gate:') .. t.gate, t.agent)
    else
      lanes.open(t.agent, t.band or 0, t.owner or '')
      if not before or was.gate then
        session.ready[t.agent] = true
      end
    end
  end
  local held = t.status == 'ready' and t.paused
  if held or (was.status == 'ready' and was.paused) then
    session.move(session.key('agent:') .. t.agent .. ':paused', t.id, held and t.number)
  end
end

local function index_tree(t, was)
  local busy = is_busy(t)
  if t.root and (was.busy or false) ~= busy then
    local root = rows.load(t.root)
    rows.set(root, { open = (root.open or 0) + (busy and 1 or -1) })
  end
  local rest = rest_key(t)
  if was.rest ~= rest then
    if was.rest then
      session.move(was.rest, t.place, false)
    end
    if rest then
      session.move(rest, t.place, t.finished_at)
    end
  end
end

local function index_status(t, was)
  if was.status then
    session.move(list_key(t, was.status), t.id, false)
  end
  session.move(list_key(t, t.status), t.id, t.number)
  if t.unique then
    local key = cjson.decode(t.unique).key
    if was.status then
      session.move(session.key('unique:') .. was.status .. ':' .. key, t.id, false)
    end
    session.move(session.key('unique:') .. t.status .. ':' .. key, t.id, t.number)
  end
end

local function index(t, was)
  if was.status ~= t.status then
    index_status(t, was)
  end
  if was.status ~= t.status or was.paused ~= t.paused or was.gate ~= t.gate or was.priority ~= t.priority then
    index_stand(t, was)
  end
  local at = due(t)
  if was.due ~= at then
    session.move(DUE, t.place, at)
  end
  index_tree(t, was)
  if FINAL[t.status] or was.paused ~= t.paused then
    session.told[t.id] = true
  end
end

-- Writes what was changed, so that queries see it.
function rows.write()
  local at = 1
  while touched[at] do -- the list grows: a task's end is noted with its root
    local t = touched[at]
    local was, written = t.was, t.written
    t.was, t.written = nil, nil
    if written then
      redis.call('HSET', unpack(written))
    end
    if t.fresh then
      t.fresh = nil
      index_fresh(t)
    end
    index(t, was)
    at = at + 1
  end
  touched = {}
  session.write_moves()
end

-- Tasks below one, at any depth, in the order of submission.
function rows.below(t)
  rows.write()
  local found, ahead = {}, { t }
  local at = 1
  while ahead[at] do
    if ahead[at].kids then
      for _, id in ipairs(redis.call('ZRANGE', session.key('children:') .. ahead[at].id, 0, -1)) do
        local child = rows.load(id)
        found[#found + 1] = child
        ahead[#ahead + 1] = child
      end
    end
    at = at + 1
  end
  table.sort(found, function(one, other) return one.number < other.number end)
  return found
end

-- Those of `below` that are not final.
function rows.active_below(t)
  local found = {}
  for _, each in ipairs(rows.below(t)) do
    if not FINAL[each.status] then
      found[#found + 1] = each
    end
  end
  return found
end

-- The children of a task, in the order of submission.
function rows.children(t)
  rows.write()
  local found = {}
  for _, id in ipairs(redis.call('ZRANGE', session.key('children:') .. t.id, 0, -1)) do
    found[#found + 1] = rows.load(id)
  end
  return found
end
