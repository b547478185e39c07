-- Lanes: the ready tasks of one owner for one agent in one band, and whose turn it is (`tasks/fairness.py`).
--
--   bands:<agent>           sorted set: bands with open lanes
--   lanes:<band>:<agent>    sorted set: owners of open lanes by tag. One that is open may have tasks
--   closed:<band>:<agent>   sorted set: owners of lanes without tasks, whose tag the virtual time has not passed
--   virtual                 hash: <band>:<agent> -> the virtual time of that queue
--   weights                 hash: owner -> weight, where it is not 1

lanes = {}

local FEWEST = 64
local HUGE = math.huge

local opened

session.each_request(function()
  opened = {}
end)

local function set_of(kind, band, agent)
  return session.key(kind) .. band .. ':' .. agent
end

-- A float as text that reads back as the same.
function lanes.exact(number)
  return string.format('%.17g', number)
end

function lanes.virtual(agent, band)
  return tonumber(redis.call('HGET', session.key('virtual'), band .. ':' .. agent) or 0)
end

function lanes.set_virtual(agent, band, at)
  redis.call('HSET', session.key('virtual'), band .. ':' .. agent, lanes.exact(at))
end

function lanes.set_tag(agent, band, owner, tag)
  redis.call('ZADD', set_of('lanes:', band, agent), lanes.exact(tag), owner)
end

-- Owners of lanes that are known to be open.
local function opened_in(agent, band)
  local bands = opened[agent]
  if not bands then
    bands = {}
    opened[agent] = bands
  end
  local mine = bands[band]
  if not mine then
    mine = {}
    bands[band] = mine
  end
  return mine
end

-- A task of this lane has become claimable.
function lanes.open(agent, band, owner)
  local mine = opened_in(agent, band)
  if mine[owner] then
    return
  elseif not next(mine) then
    redis.call('ZADD', session.key('bands:') .. agent, band, band)
  end
  mine[owner] = true
  local key = set_of('lanes:', band, agent)
  if not redis.call('ZSCORE', key, owner) then
    local closed = set_of('closed:', band, agent)
    local tag = tonumber(redis.call('ZSCORE', closed, owner) or 0)
    redis.call('ZADD', key, lanes.exact(tag), owner)
    redis.call('ZREM', closed, owner)
  end
end

local function close(agent, band, owner, tag, began)
  local key = set_of('lanes:', band, agent)
  redis.call('ZREM', key, owner)
  opened_in(agent, band)[owner] = nil
  if tag > began then
    redis.call('ZADD', set_of('closed:', band, agent), lanes.exact(tag), owner)
  end
end

-- The bands in which these agents may have claimable tasks, ascending.
function lanes.bands(agents)
  local found, seen = {}, {}
  for _, agent in ipairs(agents) do
    for _, band in ipairs(redis.call('ZRANGE', session.key('bands:') .. agent, 0, -1)) do
      if not seen[band] then
        seen[band] = true
        found[#found + 1] = tonumber(band)
      end
    end
  end
  table.sort(found)
  return found
end

-- Reads the next places of a lane and their ranks, in turns.
local function read_heads(lane, want)
  local heads = lane.heads
  local first = #heads
  local flat = redis.call('ZRANGE', lane.key, first / 2, first / 2 + want - 1, 'WITHSCORES')
  for at = 1, #flat do
    heads[first + at] = flat[at]
  end
  lane.all, lane.last = #flat < 2 * want, first + #flat
end

-- What lies behind the virtual time at which a claim began counts as it: open lanes are brought up to it, so that their
-- order is that of their owners, and closed ones are forgotten.
local function catch_up(agent, band, began)
  local key, at = set_of('lanes:', band, agent), lanes.exact(began)
  local late = {}
  for _, owner in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', '(' .. at)) do
    late[#late + 1] = at
    late[#late + 1] = owner
  end
  session.in_parts('ZADD', key, late)
  redis.call('ZREMRANGEBYSCORE', set_of('closed:', band, agent), '-inf', at)
end

-- The lanes of an agent's band as one claim of `want` tasks goes through them, lowest (tag, owner) first.
function lanes.course(agent, band, want, began)
  catch_up(agent, band, began)
  return { agent = agent, band = band, want = want, began = began, first = 0, fresh = 0, all = false, lanes = {} }
end

local function weigh(found)
  local owners = {}
  for at, lane in ipairs(found) do
    owners[at] = lane.owner
  end
  for at, weight in ipairs(owners[1] and redis.call('HMGET', session.key('weights'), unpack(owners)) or {}) do
    found[at].weight = tonumber(weight or 1)
  end
end

-- The next lanes with tasks: as many as the rest of the claim can reach, or all.
local function further(course)
  local agent, band, want = course.agent, course.band, course.want
  local key, most, found = set_of('lanes:', band, agent), math.max(want, FEWEST), {}
  repeat
    local flat = redis.call('ZRANGE', key, course.first, course.first + most - 1, 'WITHSCORES')
    local share = math.ceil(want / math.max(#flat / 2, 1)) + 1
    for at = 1, #flat, 2 do
      local owner, tag = flat[at], tonumber(flat[at + 1])
      local lane = { course = course, agent = agent, owner = owner, heads = {}, taken = 0, want = want, fresh = true }
      lane.tag = math.max(tag, course.began)
      lane.key = session.key('ready:') .. band .. ':' .. rows.escape(agent) .. ':' .. owner
      read_heads(lane, math.min(share, want))
      if lane.heads[1] then
        found[#found + 1] = lane
        course.lanes[#course.lanes + 1] = lane
        course.first = course.first + 1
      else
        close(agent, band, owner, tag, course.began)
      end
    end
    course.all = #flat < 2 * most
  until course.all or #found >= most
  course.fresh = course.fresh + #found
  weigh(found)
  if not course.lanes[1] then
    redis.call('ZREM', session.key('bands:') .. agent, band)
  end
  return found
end

-- -- whose turn it is

-- `taken` of a lane: up to where its heads were taken.
local function has_next(lane)
  if lane.taken == lane.last and not lane.all and lane.last < 2 * lane.want then
    read_heads(lane, lane.want - lane.last / 2)
  end
  return lane.taken < lane.last
end

local function is_before(one, other)
  if one.lag ~= other.lag then
    return one.lag < other.lag
  elseif one.tag ~= other.tag then
    return one.tag < other.tag
  end
  return one.owner < other.owner
end

local function sink(heap, at)
  local turn = heap[at]
  while turn do
    local child = 2 * at
    if heap[child + 1] and is_before(heap[child + 1], heap[child]) then
      child = child + 1
    end
    if not heap[child] or not is_before(heap[child], turn) then
      break
    end
    heap[at] = heap[child]
    at = child
  end
  heap[at] = turn
end

local function set_turn(turn, began)
  local lag, tag = 0, HUGE
  for _, lane in ipairs(turn.lanes) do
    local late = lane.tag - began[lane.agent]
    lag = late > 0 and lag + late or lag
    tag = lane.tag < tag and lane.tag or tag
  end
  turn.lag, turn.tag = lag, tag
end

-- A lane is fresh for its course until its first task is taken, or it has none left.
local function no_longer_fresh(lane)
  if lane.fresh then
    lane.fresh = false
    lane.course.fresh = lane.course.fresh - 1
  end
end

-- Whether what comes next in one lane comes before what comes next in another.
local function is_sooner(one, other)
  local mine, its, at, to = one.heads, other.heads, one.taken, other.taken
  local rank, level = mine[at + 2] + 0, its[to + 2] + 0
  return rank < level or (rank == level and mine[at + 1] < its[to + 1])
end

local function best_of(turn)
  local best
  for _, lane in ipairs(turn.lanes) do
    if not has_next(lane) then
      no_longer_fresh(lane)
    else
      if not best or is_sooner(lane, best) then
        best = lane
      end
    end
  end
  return best
end

local function add_further(course, turns, by_owner)
  for _, lane in ipairs(further(course)) do
    local turn = by_owner[lane.owner]
    if not turn then
      turn = { owner = lane.owner, lanes = {} }
      by_owner[lane.owner] = turn
    end
    if not turn.waits then
      turn.waits = true
      turns[#turns + 1] = turn
    end
    turn.lanes[#turn.lanes + 1] = lane
  end
end

local function arrange(turns, began)
  for _, turn in ipairs(turns) do
    set_turn(turn, began)
  end
  for at = math.floor(#turns / 2), 1, -1 do
    sink(turns, at)
  end
end

-- The next tasks to claim from the courses, in order, at most `want`; see `fairness.pick`. `admits` a place in a lane:
-- the task, or nothing. Lanes that were
-- not looked at come after all that are fresh: where tasks were turned away, and fewer of these are left than the claim
-- has picks, further ones are added.
function lanes.pick(courses, began, virtual, want, admits)
  local turns, by_owner, picks = {}, {}, {}
  while #picks < want do
    for _, course in pairs(courses) do
      while not course.all and course.fresh < want - #picks do
        add_further(course, turns, by_owner)
        arrange(turns, began)
      end
    end
    local turn = turns[1]
    if not turn then
      break
    end
    local lane = best_of(turn)
    if not lane then
      turns[1], turn.waits, turn.lanes = turns[#turns], false, {}
      turns[#turns] = nil
      sink(turns, 1)
    else
      local t = admits(lane.heads[lane.taken + 1], lane)
      lane.taken = lane.taken + 2
      if t then
        local agent = lane.agent
        local start = lane.tag > began[agent] and lane.tag or began[agent]
        if start > virtual[agent] then
          virtual[agent] = start
        end
        lane.tag = start + 1 / lane.weight
        no_longer_fresh(lane)
        picks[#picks + 1] = t
        set_turn(turn, began)
        sink(turns, 1)
      end
    end
  end
  return picks
end
