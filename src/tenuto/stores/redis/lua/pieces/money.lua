-- What a record means for the books (`rules/money.py`, function by function). An amount is {money, tokens, requests}.

money = {}

local FIELDS = { 'money', 'tokens', 'requests' }
local PERIODS = { '', 'month', 'day' }
local NOTHING = { 0, 0, 0 }
local SOON = 25 -- milliseconds

local whole, SEPARATOR = session.whole, '\31'

local function pace_of(plan, key)
  plan.paces[key] = plan.paces[key] or books.pace(key)
  return plan.paces[key]
end

local function chain_of(t)
  local chain, parent = { t.id }, rows.parent_of(t)
  while parent do
    chain[#chain + 1] = parent
    local above = rows.load(parent)
    parent = above and rows.parent_of(above)
  end
  return chain
end

-- What reservations and settlements of one task change, before it is certain that they may.
function money.plan(t)
  return {
    t = t, chain = chain_of(t), counts = {}, changed_counts = {}, calls = {}, changed_calls = {}, added = 0, tats = {},
    paces = {}, changed_paces = {}, freed = {}, reserved = t.calls or '',
  }
end

-- The scopes of a call, each with its kind, its name, and whether it is counted by day and month.
local function scopes_of(plan, model)
  local t, scopes = plan.t, {}
  for _, id in ipairs(plan.chain) do
    scopes[#scopes + 1] = { text = 'task:' .. id, kind = 'task', name = id }
  end
  local root = rows.root_of(t)
  scopes[#scopes + 1] = { text = 'tree:' .. root, kind = 'tree', name = root }
  for _, named in ipairs({ { 'owner', t.owner }, { 'agent', t.agent }, { 'model', model } }) do
    if named[2] and named[2] ~= '' then
      scopes[#scopes + 1] = { text = named[1] .. ':' .. named[2], kind = named[1], name = named[2], periodic = true }
    end
  end
  scopes[#scopes + 1] = { text = 'total', kind = 'total', name = '', periodic = true }
  return scopes
end

local function count_of(plan, kind, name, window)
  local hash = 'count:' .. kind .. ':' .. window
  local id = hash .. '\n' .. name
  local count = plan.counts[id]
  if not count then
    local text = redis.call('HGET', session.key(hash), name)
    count = { hash = hash, name = name, numbers = books.numbers(text or '0 0 0 0 0 0 0') }
    count.new_day = not text and kind == 'total' and #window == 10 and window
    plan.counts[id] = count
  end
  return count
end

local function add(count, counted, reserved, calls)
  local numbers = count.numbers
  for at = 1, 3 do
    numbers[at] = numbers[at] + counted[at]
    numbers[at + 3] = numbers[at + 3] + reserved[at]
  end
  numbers[7] = numbers[7] + calls
end

local function less(one, other)
  return { one[1] - other[1], one[2] - other[2], one[3] - other[3] }
end

-- A call as it is now, and how much more is counted for it.
local function put(plan, name, call, counted, reserved, calls)
  plan.calls[name] = call
  plan.changed_calls[name] = call
  local windows = books.windows(call.at)
  for _, scope in ipairs(scopes_of(plan, call.model)) do
    for _, period in ipairs(scope.periodic and PERIODS or { '' }) do
      local count = count_of(plan, scope.kind, scope.name, windows[period])
      add(count, counted, reserved, calls)
      plan.changed_counts[count] = true
    end
  end
end

local function call_named(plan, name)
  local call = plan.calls[name]
  if call == nil then
    local text = redis.call('HGET', session.key('ledger:') .. plan.t.id, name)
    call = text and books.read_call(text) or false
    plan.calls[name] = call
  end
  return call
end

local function new_call(plan, state, model, bound)
  local order = redis.call('HLEN', session.key('ledger:') .. plan.t.id) + plan.added
  plan.added = plan.added + 1
  return { order = whole(order), state = state, model = model, bound = bound, at = session.now, taken = {} }
end

local function name_of(plan, attempt, call)
  return whole(attempt > 0 and attempt or plan.t.attempt or 0) .. ':' .. call
end

-- -- settling

local function tat_of(plan, usage)
  return plan.tats[usage.key] or usage.tat
end

-- Units beyond what was taken are taken now; of what was not used, as much is given back as is safe.
local function correct(plan, taken, used)
  local usage, pace = limits.usage(taken.key), pace_of(plan, taken.key)
  if not usage.defined or limits.interval(usage) ~= taken.interval then
    return
  elseif used > taken.units then
    plan.tats[taken.key] = limits.taken(usage, tat_of(plan, usage), used - taken.units)
    return
  end
  local ahead = taken.tat - (pace.given - taken.given) - session.now
  local back = math.min(taken.units - used, math.floor(ahead / taken.interval))
  if back > 0 then
    local span = back * taken.interval
    plan.tats[taken.key] = tat_of(plan, usage) - span
    pace.given = pace.given + span
    plan.changed_paces[taken.key], plan.freed[taken.key] = true, true
  end
end

local function without(names, name)
  local left = {}
  for each in names:gmatch('[^\n]+') do
    if each ~= name then
      left[#left + 1] = each
    end
  end
  return table.concat(left, '\n')
end

-- Plans a settlement: call, attempt, actual, rates, model; false when it changes nothing. `anew`: also of a call that was
-- not reserved.
function money.settle(plan, settle, anew)
  local name = name_of(plan, settle.attempt, settle.call)
  local call, actual = call_named(plan, name), settle.actual
  if not call then
    if anew then
      call = new_call(plan, 'settled', settle.model, actual)
      call.actual, call.settled_at = books.words(actual), whole(session.now)
      put(plan, name, call, actual, NOTHING, 1)
    end
    return anew
  elseif call.state == 'settled' then
    return false
  end
  for _, taken in ipairs(call.taken) do
    if settle.rates[taken.key] then
      correct(plan, taken, settle.rates[taken.key])
    end
  end
  local reserved = call.state == 'reserved' and less(NOTHING, call.bound) or NOTHING
  plan.reserved = without(plan.reserved, name)
  call.state, call.actual, call.settled_at = 'settled', books.words(actual), whole(session.now)
  put(plan, name, call, less(actual, call.bound), reserved, 0)
  return true
end

-- -- reserving

-- Which field has no room, and what is left of it; nil when all have.
local function short(budget, counted, bound, unpriced)
  if unpriced and budget[1] then
    return 'price', 0
  end
  for at, field in ipairs(FIELDS) do
    local limit = budget[at]
    if limit and bound[at] > 0 and counted[at] + bound[at] > limit then
      return field, math.max(limit - counted[at], 0)
    end
  end
  return nil
end

local function over_budget(plan, reserve)
  local fields, places = {}, {}
  for _, scope in ipairs(scopes_of(plan, reserve.model)) do
    for _, period in ipairs(scope.periodic and PERIODS or { '' }) do
      fields[#fields + 1] = scope.text .. SEPARATOR .. period
      places[#fields] = { scope, period }
    end
  end
  local windows = books.windows(session.now)
  local texts = redis.call('HMGET', session.key('budgets'), unpack(fields))
  for at, text in ipairs(texts) do
    if text then
      local scope, period = places[at][1], places[at][2]
      local budget = books.read_budget(text)
      local counted = count_of(plan, scope.kind, scope.name, windows[period]).numbers
      local field, left = short(budget, counted, reserve.bound, reserve.unpriced)
      if field then
        local retry_at = field ~= 'price' and books.next_window(period)
        return { reserve.call, scope.text, 'budget', session.now, retry_at, field, left, period, budget[4] }
      end
    end
  end
  return nil
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

local function too_fast(plan, reserve)
  for _, rate in ipairs(reserve.rates) do
    local key, units = rate[1], rate[2]
    local slow, usage = pace_of(plan, key).slow, limits.usage(key)
    if slow > session.now then
      return { reserve.call, key, 'slow', session.now, slow }
    elseif usage.defined and usage.rate and units > 0 then
      if units > usage.burst then
        return { reserve.call, key, 'rate', session.now, false }
      end
      local at = when(plan, usage, units)
      if at > session.now then
        local stored = books.pace(key)
        shares.refused(stored, plan.t.owner or '', at)
        books.put_pace(key, stored)
        return { reserve.call, key, 'rate', session.now, at }
      end
    end
  end
  return nil
end

-- Plans a reservation: call, bound, model, rates; why it has no room.
function money.reserve(plan, reserve)
  local name = name_of(plan, 0, reserve.call)
  if call_named(plan, name) then
    return nil -- it was granted before
  end
  local refusal = over_budget(plan, reserve) or too_fast(plan, reserve)
  if refusal then
    return refusal
  end
  local call = new_call(plan, 'reserved', reserve.model, reserve.bound)
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
      call.taken[#call.taken + 1] = {
        key = rate[1], units = rate[2], tat = tat, interval = limits.interval(usage), given = given,
      }
    end
  end
  put(plan, name, call, reserve.bound, reserve.bound, 1)
  plan.reserved = plan.reserved .. (plan.reserved ~= '' and '\n' or '') .. name
  return nil
end

-- -- the books

-- Writes what was planned.
function money.write(plan)
  for count in pairs(plan.changed_counts) do
    local texts = {}
    for at, number in ipairs(count.numbers) do
      texts[at] = whole(number)
    end
    redis.call('HSET', session.key(count.hash), count.name, table.concat(texts, ' '))
    if count.new_day then
      redis.call('SADD', session.key('days'), count.new_day)
    end
  end
  for name, call in pairs(plan.changed_calls) do
    redis.call('HSET', session.key('ledger:') .. plan.t.id, name, books.call_text(call))
  end
  for key, tat in pairs(plan.tats) do
    limits.set(limits.usage(key), { tat = tat })
  end
  for key in pairs(plan.changed_paces) do
    books.put_pace(key, plan.paces[key])
  end
  for key in pairs(plan.freed) do
    limits.reopen(key)
  end
  if plan.reserved ~= (plan.t.calls or '') then
    rows.put(plan.t, 'calls', plan.reserved ~= '' and plan.reserved)
  end
end

-- The attempt that held a task is over: its calls that are still reserved are unknown.
function money.abandon(t)
  local plan = money.plan(t)
  for name in t.calls:gmatch('[^\n]+') do
    local call = call_named(plan, name)
    call.state = 'unknown'
    put(plan, name, call, NOTHING, less(NOTHING, call.bound), 0)
  end
  plan.reserved = ''
  money.write(plan)
end

-- What a record says of calls: {settles, reserves}. A plan to write, or nil and why a reservation has no room.
function money.planned(t, settles, reserves)
  local plan = money.plan(t)
  for _, settle in ipairs(settles) do
    money.settle(plan, settle, true)
  end
  for _, reserve in ipairs(reserves) do
    local refusal = money.reserve(plan, reserve)
    if refusal then
      return nil, refusal
    end
  end
  return plan
end
