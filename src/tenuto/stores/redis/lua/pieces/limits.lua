-- Limits that tasks share by key (`tasks/limits.py`), and what a task's change means for them (`rules/work.py`).
--
--   limits         set: keys with a definition
--   limit:<key>    hash: concurrency, rate, period, burst (as defined); used (slots held), tat, opens
--   limits:open    sorted set: defined keys by `opens`: from this instant on parked tasks may find room

limits = {}

local PLENTY = 1000000000

local usages, changed

session.each_request(function()
  usages, changed = {}, {}
end)

-- What is known about a key. `defined`: somebody has defined it, so that it limits something.
function limits.usage(key)
  local usage = usages[key]
  if not usage then
    usage = { key = key, used = 0, tat = 0 }
    local flat = redis.call('HGETALL', session.key('limit:') .. key)
    for at = 1, #flat, 2 do
      usage[flat[at]] = tonumber(flat[at + 1])
    end
    usage.defined = usage.burst ~= nil
    usages[key] = usage
  end
  return usage
end

-- Stores what was changed of it: fields, false for none.
function limits.set(usage, values)
  for name, value in pairs(values) do
    usage[name] = value or nil
  end
  usage.defined = usage.burst ~= nil
  changed[usage.key] = usage
end

-- Writes what was changed, so that queries see it.
function limits.write()
  for key, usage in pairs(changed) do
    local hash, open = session.key('limit:') .. key, session.key('limits:open')
    redis.call('DEL', hash)
    if usage.defined or usage.used > 0 then
      local flat = { 'used', usage.used, 'tat', string.format('%.17g', usage.tat) }
      for _, name in ipairs({ 'concurrency', 'rate', 'period', 'burst', 'opens' }) do
        if usage[name] then
          flat[#flat + 1] = name
          flat[#flat + 1] = usage[name]
        end
      end
      redis.call('HSET', hash, unpack(flat))
    end
    redis.call(usage.defined and 'SADD' or 'SREM', session.key('limits'), key)
    if usage.defined and usage.opens then
      redis.call('ZADD', open, usage.opens, key)
    else
      redis.call('ZREM', open, key)
    end
  end
  changed = {}
end

-- Milliseconds between two claims at the full rate.
function limits.interval(usage)
  return usage.rate and usage.period / usage.rate or 0
end

local interval = limits.interval

-- The first instant at which a claim is allowed, or so many units together: more than the burst where all is paid for.
function limits.allowed_at(usage, tat, units)
  return usage.rate and math.ceil(tat - math.max(usage.burst - (units or 1), 0) * interval(usage)) or 0
end

-- How many tasks may be claimed now.
function limits.room(usage)
  local slots = usage.concurrency and math.max(usage.concurrency - usage.used, 0) or PLENTY
  if not usage.rate or slots == 0 then
    return slots
  end
  local spare = session.now - (usage.tat - (usage.burst - 1) * interval(usage))
  return spare >= 0 and math.min(slots, usage.burst, math.floor(spare / interval(usage)) + 1) or 0
end

-- The theoretical arrival time after a claim now, or after so many units were taken.
function limits.taken(usage, tat, units)
  return usage.rate and math.max(tat, session.now) + (units or 1) * interval(usage) or tat
end

-- Keys that are defined and whose `opens` is not later than now, at most `most`.
function limits.opened(most)
  limits.write()
  return redis.call('ZRANGEBYSCORE', session.key('limits:open'), '-inf', session.now, 'LIMIT', 0, most)
end

local function parked_key(key, agent)
  return session.key('parked:') .. rows.escape(agent) .. ':' .. key
end

-- Agents with tasks behind a key, by name, and how many: {agent, count}.
function limits.parked_agents(key)
  rows.write()
  local gate = session.key('gate:') .. key
  local agents, found = redis.call('SMEMBERS', gate), {}
  table.sort(agents)
  for _, agent in ipairs(agents) do
    local count = redis.call('ZCARD', parked_key(key, agent))
    if count > 0 then
      found[#found + 1] = { agent, count }
    else
      redis.call('SREM', gate, agent)
    end
  end
  return found
end

-- The best tasks of an agent behind a key.
function limits.parked(key, agent, want)
  rows.write()
  local found = {}
  for _, place in ipairs(want > 0 and redis.call('ZRANGE', parked_key(key, agent), 0, want - 1) or {}) do
    found[#found + 1] = rows.at(place)
  end
  return found
end

-- The keys that a task is subject to.
function limits.of(t)
  return t.limits and cjson.decode(t.limits) or {}
end

-- A claim of a task uses its limits.
function limits.take(t)
  for _, key in ipairs(limits.of(t)) do
    local usage = limits.usage(key)
    local tat, opens = usage.tat, usage.opens
    if usage.defined and usage.rate then
      tat = limits.taken(usage, tat)
      if limits.parked_agents(key)[1] then
        opens = math.max(limits.allowed_at(usage, tat), 1)
      end
    end
    limits.set(usage, { used = usage.used + 1, tat = tat, opens = opens or false })
  end
end

-- There may be room behind this limit: the next claim looks, and the agents concerned are told.
function limits.reopen(key)
  local usage = limits.usage(key)
  local agents = usage.defined and limits.parked_agents(key) or {}
  for _, each in ipairs(agents) do
    session.ready[each[1]] = true
  end
  if agents[1] then
    limits.set(usage, { opens = 0 })
  end
end

local function give_room(t, was_claimable, was_held)
  local keys = limits.of(t)
  if was_held and not t.lease_expires then
    for _, key in ipairs(keys) do
      local usage = limits.usage(key)
      limits.set(usage, { used = math.max(usage.used - 1, 0) })
    end
    for _, key in ipairs(keys) do
      limits.reopen(key)
    end
  elseif was_claimable and not rows.is_claimable(t) and not t.lease_expires then
    for _, key in ipairs(keys) do
      if key ~= t.gate then
        limits.reopen(key)
      end
    end
  end
end

-- Makes a transition, with what it means for the limits of the task and for calls that it has reserved.
function limits.apply(t, transition, ...)
  if not t.limits and not t.calls then
    transition(t, ...)
    return
  end
  local was_claimable, was_held = rows.is_claimable(t), t.lease_expires ~= nil
  transition(t, ...)
  if t.calls and not t.lease_expires then
    money.abandon(t)
  end
  if t.limits then
    give_room(t, was_claimable, was_held)
  end
end

-- Puts parked tasks back where their limit has room again; how many limits were looked at.
function limits.put_back()
  local opened = limits.opened(256)
  for _, key in ipairs(opened) do
    local usage = limits.usage(key)
    local room, left = limits.room(usage), 0
    for _, each in ipairs(limits.parked_agents(key)) do
      for _, t in ipairs(limits.parked(key, each[1], room)) do
        limits.apply(t, transitions.park, nil)
      end
      left = left + math.max(each[2] - room, 0)
    end
    local allowed = limits.allowed_at(usage, usage.tat)
    limits.set(usage, { opens = usage.rate and left > 0 and allowed > session.now and allowed or false })
  end
  return #opened
end
