-- What a record takes of rates, and gives back (`rules/rates.py`, function by function): a part of the plan in money.lua.

rates = {}

local SOON = 25 -- milliseconds
local NEWEST = 0.125

local function pace_of(plan, key)
  plan.paces[key] = plan.paces[key] or books.pace(key)
  return plan.paces[key]
end

local function tat_of(plan, usage)
  return plan.tats[usage.key] or usage.tat
end

-- Units beyond what was taken are taken now; of what was not used, as much is given back as is safe.
function rates.correct(plan, taken, used)
  local usage, pace = limits.usage(taken.key), pace_of(plan, taken.key)
  if not usage.defined or limits.interval(usage) ~= taken.interval then
    return
  end
  if used > 0 and taken.units > 1 and next(pace.shares) then
    pace.used = pace.used + (math.min(used / taken.units, 1) - pace.used) * NEWEST
    plan.changed_paces[taken.key] = true
  end
  if used > taken.units then
    plan.tats[taken.key] = limits.taken(usage, tat_of(plan, usage), used - taken.units)
    return
  end
  local ahead = taken.tat - (pace.given - taken.given) - session.now
  local span = math.min((taken.units - used) * taken.interval, ahead)
  if span > 0 then
    plan.tats[taken.key] = tat_of(plan, usage) - span
    pace.given = pace.given + span
    plan.changed_paces[taken.key], plan.freed[taken.key] = true, true
  end
end

-- When it is worth a try to take units of a rate: now, where there is room and nobody goes before.
local function when(plan, usage, units)
  local tat = tat_of(plan, usage)
  local at = limits.allowed_at(usage, tat, units)
  local first = shares.first_in_line(pace_of(plan, usage.key), plan.t.owner or '')
  if at > session.now or not first then
    return at
  end
  local after = limits.allowed_at(usage, limits.taken(usage, tat, units), units)
  return math.min(first.till + 1, math.max(after, session.now + SOON))
end

-- Why a reservation comes too fast.
function rates.refusal(plan, reserve)
  for _, rate in ipairs(reserve.rates) do
    local key, units = rate[1], rate[2]
    local slow, at, step = pace_of(plan, key).slow, session.now, SOON
    local usage, stored = limits.usage(key), books.pace(key)
    if usage.defined and usage.rate and units > 0 then
      at = when(plan, usage, units)
      step = units * limits.interval(usage) * (units > 1 and stored.used or 1)
    end
    if math.max(at, slow) > session.now then
      local place = shares.refused(stored, plan.t.owner or '', math.max(at, slow), step)
      books.put_pace(key, stored)
      return { reserve.call, key, slow > session.now and 'slow' or 'rate', session.now, place }
    end
  end
  return nil
end

-- Plans that a granted reservation takes its units.
function rates.take(plan, reserve)
  local all = {}
  for _, rate in ipairs(reserve.rates) do
    local usage = limits.usage(rate[1])
    if usage.defined and usage.rate and rate[2] > 0 then
      local tat = limits.taken(usage, tat_of(plan, usage), rate[2])
      plan.tats[rate[1]] = tat
      local pace = pace_of(plan, rate[1])
      local given = pace.given
      if next(pace.shares) then
        shares.granted(pace, plan.t.owner or '', rate[2])
        plan.changed_paces[rate[1]] = true
      end
      all[#all + 1] = { key = rate[1], units = rate[2], tat = tat, interval = limits.interval(usage), given = given }
    end
  end
  return all
end

-- Writes what was planned.
function rates.write(plan)
  for key, tat in pairs(plan.tats) do
    limits.set(limits.usage(key), { tat = tat })
  end
  for key in pairs(plan.changed_paces) do
    books.put_pace(key, plan.paces[key])
  end
  for key in pairs(plan.freed) do
    limits.reopen(key)
  end
end
