-- Claiming (`rules/claim.py`): whose turn it is, and what the limits allow.

claims = {}

local MOST_PARKED = 256

-- The gates of one claim: they turn away tasks whose limits have no room, and park them.
local parked, planned

local function will_open(usage)
  if usage.rate then
    local tat = usage.tat
    for _ = 1, planned[usage.key] or 0 do
      tat = limits.taken(usage, tat)
    end
    local at = math.max(limits.allowed_at(usage, tat), 1)
    if at > session.now then
      limits.set(usage, { opens = at })
    end
  end
end

local function full_limit(keys)
  for _, key in ipairs(keys) do
    local usage = limits.usage(key)
    if usage.defined and limits.room(usage) <= (planned[key] or 0) then
      will_open(usage)
      return key
    end
  end
  return nil
end

local function admits(place, lane)
  if parked >= MOST_PARKED then
    return nil
  end
  local t = rows.claimed(place, lane.agent, lane.owner)
  walks.settle(t)
  if not rows.is_claimable(t) then
    parked = parked + 1 -- doomed: what claims turn away in one go is bounded
    return nil
  elseif not t.limits then
    return t
  end
  local keys = limits.of(t)
  local full = full_limit(keys)
  if full then
    limits.apply(t, transitions.park, full)
    parked = parked + 1
    return nil
  end
  for _, key in ipairs(keys) do
    planned[key] = (planned[key] or 0) + 1
  end
  return t
end

-- `kept`: what is stored of the virtual times.
local function remember(courses, band, virtual, kept)
  for _, course in pairs(courses) do
    for _, lane in ipairs(course.lanes) do
      if lane.taken > 0 then
        lanes.set_tag(lane.agent, band, lane.owner, lane.tag)
      end
    end
  end
  for agent, at in pairs(virtual) do
    if at ~= kept[agent] then
      lanes.set_virtual(agent, band, at)
      kept[agent] = at
    end
  end
end

-- Takes what one band has, until it is empty or the slots are full.
local function serve(course, worker, wanted, leases)
  while #leases < wanted.slots and parked < MOST_PARKED do
    local before = parked
    rows.write()
    local courses = {}
    for _, agent in ipairs(wanted.agents) do
      courses[agent] = lanes.course(agent, course.band, wanted.slots, course.began[agent])
    end
    for _, t in ipairs(lanes.pick(courses, course.began, course.virtual, wanted.slots - #leases, admits)) do
      if t.limits then
        limits.take(t)
      end
      limits.apply(t, transitions.claim, worker.name, worker.data, wanted.nonce + #leases, wanted.lease)
      leases[#leases + 1] = holds.lease(t)
    end
    planned = {}
    remember(courses, course.band, course.virtual, course.kept)
    if parked == before then
      return
    end
  end
end

local function course_of(band, agents)
  local course = { band = band, began = {}, virtual = {}, kept = {} }
  for _, agent in ipairs(agents) do
    course.began[agent] = lanes.virtual(agent, band)
    course.virtual[agent], course.kept[agent] = course.began[agent], course.began[agent]
  end
  return course
end

-- The next tasks for a worker, and whether it is worth asking again at once.
function claims.claim(name, wanted)
  parked, planned = 0, {}
  rows.write()
  limits.put_back()
  local leases, courses = {}, {}
  local worker = { name = name, data = '{"worker":' .. events.quote(name) .. '}' }
  while true do
    local before = parked
    rows.write()
    for _, band in ipairs(lanes.bands(wanted.agents)) do
      if #leases == wanted.slots then
        break
      end
      courses[band] = courses[band] or course_of(band, wanted.agents)
      serve(courses[band], worker, wanted, leases)
    end
    if #leases == wanted.slots or parked == before or parked >= MOST_PARKED then
      break
    end
    limits.put_back() -- what was parked just now may have left room behind its other limits
  end
  return leases, #leases < wanted.slots and parked >= MOST_PARKED
end
