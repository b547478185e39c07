-- Every index that follows from what tasks say.
--
--   tasks                 sorted set: id by number
--   agents                set: names of agents that have tasks
--   agent:<name>:<list>   sorted set: id by number, of tasks that are blocked, ready, scheduled, waiting, done, failed,
--                         cancelled; and paused: those of `ready` that are
--   agent:<name>:active   sorted set: id by the end of the lease, of tasks that are running
--   leases                sorted set: agents by an instant before which none of their leases ends
--   goals:<state>         sorted set: goals by number
--   owner:<name>, tag:<name>      sorted sets: id by number
--   ready:<band>:<agent>:<owner>  sorted set, a lane: place by minus priority
--   parked:<agent>:<limit>        sorted set: place by minus priority;   gate:<limit>  set: agents of these
--   due                   sorted set: place by the next instant at which time alone changes a task that is not running
--   ended:<state>         sorted set: place of roots whose trees are at rest, by the instant of their end
--   unique:<state>:<key>  sorted set: id by number, of tasks with that unique key
--   children:<id>         sorted set: id by number;   tree:<root>  the same of every task below a root
--
-- A *place* is `<number, 16 digits>:<id>`: sets of equal scores are in the order of submission.

indexes = {}

local AGENT, READY, ENDED, DUE, LEASES

local HUGE = math.huge
local FINAL = { done = true, failed = true, cancelled = true }

local known_agents, leased, lists, found_lanes
local move, whole = session.move, session.whole

session.each_request(function()
  AGENT, READY, ENDED = session.key('agent:'), session.key('ready:'), session.key('ended:')
  DUE, LEASES = session.key('due'), session.key('leases')
  known_agents, leased, lists, found_lanes = {}, {}, {}, {}
end)

-- The next instant at which time alone changes a task (`Task.due`).
function indexes.due(t)
  if t.lease_expires then
    return t.lease_expires
  elseif FINAL[t.status] then
    return nil
  end
  local at = t.deadline or HUGE
  if t.expires_at and not t.for_people then
    at = math.min(at, t.expires_at)
  end
  if t.status == 'scheduled' and t.run_at then
    at = math.min(at, t.run_at)
  end
  if t.status == 'waiting' and t.wakes_at then
    at = math.min(at, t.wakes_at)
  end
  return at < HUGE and at or nil
end

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

-- A lane, by agent, band and owner.
local function lane_key(t)
  local agent, band, owner = t.agent, t.band or 0, t.owner or ''
  local bands = found_lanes[agent]
  if not bands then
    bands = {}
    found_lanes[agent] = bands
  end
  local keys = bands[band]
  if not keys then
    keys = {}
    bands[band] = keys
  end
  local key = keys[owner]
  if not key then
    key = READY .. whole(band) .. ':' .. rows.escape(agent) .. ':' .. owner
    keys[owner] = key
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
  return lane_key(t)
end

local function is_busy(t)
  return t.lease_expires ~= nil or not FINAL[t.status]
end

local function rest_key(t)
  if t.root or is_busy(t) or (t.open or 0) > 0 then
    return nil
  end
  return ENDED .. t.status
end

-- What the indexes know of a task now: to be compared by `update`.
function indexes.noted(t)
  local busy = is_busy(t)
  if not t.more then
    return { status = t.status, due = indexes.due(t), busy = busy, rest = not busy and rest_key(t) or nil }
  end
  return {
    status = t.status, paused = t.paused, gate = t.gate, priority = t.priority, due = indexes.due(t), busy = busy,
    rest = not busy and rest_key(t) or nil,
  }
end

-- Where the indexes have a task: keys of its list, its lane or limit, its place among trees at rest; its next instant or
-- the end of its lease.
function indexes.of(t)
  return {
    list = list_key(t, t.status),
    stand = stand(t, t.status, t.paused, t.gate),
    claimable = rows.is_claimable(t),
    due = t.status ~= 'running' and indexes.due(t),
    lease = t.status == 'running' and t.lease_expires,
    rest = rest_key(t),
  }
end

-- A new task: the indexes that it never leaves.
function indexes.enter(t)
  move(session.key('tasks'), t.id, t.counted)
  if t.agent and not known_agents[t.agent] then
    known_agents[t.agent] = true
    redis.call('SADD', session.key('agents'), t.agent)
  end
  if t.owner then
    move(session.key('owner:') .. t.owner, t.id, t.counted)
  end
  if t.tags then
    for _, tag in ipairs(cjson.decode(t.tags)) do
      move(session.key('tag:') .. tag, t.id, t.counted)
    end
  end
  if t.root then
    move(session.key('tree:') .. t.root, t.id, t.counted)
    move(session.key('children:') .. rows.parent_of(t), t.id, t.counted)
  end
end

-- A ready task comes to stand somewhere, or leaves.
local function index_stand(t, was)
  local before, now = stand(t, was.status, was.paused, was.gate), stand(t, t.status, t.paused, t.gate)
  if before then
    move(before, t.place, false)
  end
  if now then
    move(now, t.place, whole(-(t.priority or 0)))
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
    move(session.key('agent:') .. t.agent .. ':paused', t.id, held and t.counted)
  end
end

local function index_tree(t, was)
  local busy = is_busy(t)
  if t.root and (was.busy or false) ~= busy then
    local root = rows.load(t.root)
    rows.set(root, { open = (root.open or 0) + (busy and 1 or -1) })
  end
  local rest = not busy and rest_key(t) or nil
  if was.rest ~= rest then
    if was.rest then
      move(was.rest, t.place, false)
    end
    if rest then
      move(rest, t.place, whole(t.finished_at))
    end
  end
end

-- The running tasks of an agent stand in the order in which their leases end.
local function index_lease(t, at)
  move(list_key(t, 'running'), t.id, whole(at))
  local agent = t.agent
  leased[agent] = math.min(leased[agent] or at, at)
end

local function index_status(t, was)
  if was.status then
    move(list_key(t, was.status), t.id, false)
  end
  if t.status == 'running' then
    index_lease(t, t.lease_expires)
  else
    move(list_key(t, t.status), t.id, t.counted)
  end
  if t.unique then
    local key = cjson.decode(t.unique).key
    if was.status then
      move(session.key('unique:') .. was.status .. ':' .. key, t.id, false)
    end
    move(session.key('unique:') .. t.status .. ':' .. key, t.id, t.counted)
  end
end

-- Moves a task from where the indexes had it to where it belongs.
function indexes.update(t, was)
  local status, before, at = t.status, was.status, indexes.due(t)
  if before ~= status then
    index_status(t, was)
    if status == 'ready' or before == 'ready' then
      index_stand(t, was)
    end
  elseif was.paused ~= t.paused or was.gate ~= t.gate or was.priority ~= t.priority then
    index_stand(t, was)
  end
  local due, is_due = before ~= 'running' and was.due or nil, status ~= 'running' and at or nil
  if due ~= is_due then
    move(DUE, t.place, is_due and whole(is_due))
  end
  if status == 'running' and before == status and was.due ~= at then
    index_lease(t, at)
  end
  if not was.busy or not is_busy(t) then
    index_tree(t, was)
  end
  if FINAL[status] or was.paused ~= t.paused then
    session.told[t.id] = true
  end
end

-- Notes from when on leases may end.
function indexes.write()
  for agent, at in pairs(leased) do
    redis.call('ZADD', LEASES, 'LT', whole(at), agent)
  end
  leased = {}
end

-- The agent with the lease that ends first, and when; nothing where there is none.
function indexes.first_lease()
  while true do
    local first = redis.call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')
    local agent = first[1]
    if not agent then
      return nil
    end
    local at = redis.call('ZRANGE', AGENT .. agent .. ':active', 0, 0, 'WITHSCORES')[2]
    if at == first[2] then
      return agent, at + 0
    elseif at then
      redis.call('ZADD', LEASES, at, agent)
    else
      redis.call('ZREM', LEASES, agent)
    end
  end
end
