-- What a record means for the books (`rules/money.py`, function by function). An amount is {money, tokens, requests}.

money = {}

local PERIODS = { '', 'month', 'day' }
local NOTHING = { 0, 0, 0 }

local whole, SEPARATOR = session.whole, '\31'

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
    paces = {}, changed_paces = {}, freed = {}, own = {}, models = {}, left = {}, reserved = t.calls or '',
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
  plan.models[call.model] = true
  local windows = books.windows(call.at)
  for _, scope in ipairs(scopes_of(plan, call.model)) do
    for _, period in ipairs(scope.periodic and PERIODS or { '' }) do
      local count = count_of(plan, scope.kind, scope.name, windows[period])
      add(count, counted, reserved, calls)
      plan.changed_counts[count] = true
    end
  end
end

-- -- settling

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
  local name = calls.name(plan, settle.attempt, settle.call)
  local call, actual = calls.named(plan, name), settle.actual
  plan.models[settle.model] = true
  if not call then
    if anew then
      call = calls.new(plan, 'settled', settle.model, actual)
      call.actual, call.settled_at = books.words(actual), whole(session.now)
      put(plan, name, call, actual, NOTHING, 1)
    end
    return anew
  elseif call.state == 'settled' then
    return false
  end
  for _, taken in ipairs(call.taken) do
    if settle.rates[taken.key] then
      rates.correct(plan, taken, settle.rates[taken.key])
    end
  end
  local reserved = call.state == 'reserved' and less(NOTHING, call.bound) or NOTHING
  plan.reserved = without(plan.reserved, name)
  call.state, call.actual, call.settled_at = 'settled', books.words(actual), whole(session.now)
  put(plan, name, call, less(actual, call.bound), reserved, 0)
  plan.gives_room = true
  return true
end

-- -- reserving

-- The budgets of a call, from the task upwards, with their lines.
local function purses_of(plan, model)
  local fields, places = {}, {}
  for _, scope in ipairs(scopes_of(plan, model)) do
    for _, period in ipairs(scope.periodic and PERIODS or { '' }) do
      fields[#fields + 1] = scope.text .. SEPARATOR .. period
      places[#fields] = { field = fields[#fields], scope = scope, period = period }
    end
  end
  local purses, theirs = {}, {}
  for at, text in ipairs(redis.call('HMGET', session.key('budgets'), unpack(fields))) do
    if text then
      places[at].budget = books.read_budget(text)
      purses[#purses + 1], theirs[#theirs + 1] = places[at], fields[at]
    end
  end
  for at, line in ipairs(purses[1] and lines.of(theirs) or {}) do
    purses[at].line = plan.left[theirs[at]] or line
  end
  return purses
end

local function spent(numbers, own)
  local after = own or NOTHING
  return { numbers[1] - numbers[4] + after[1], numbers[2] - numbers[5] + after[2], numbers[3] - numbers[6] + after[3] }
end

-- A task has no room for good: what was kept for it is for those behind it.
local function give_up(plan, purses, windows)
  for _, purse in ipairs(purses) do
    if lines.place_of(purse.line, plan.t.id) then
      local count = count_of(plan, purse.scope.kind, purse.scope.name, windows[purse.period])
      local after, ids = lines.called(lines.without(purse.line, plan.t.id), purse.budget, count.numbers)
      lines.put(purse.field, after)
      lines.wake(purse.scope.text, ids)
    end
  end
end

-- Why a reservation has no room in budgets: one that is spent goes before one that is busy.
local function over_budget(plan, reserve, purses)
  local id, since, busy = plan.t.id, session.now, nil
  for _, purse in ipairs(purses) do
    local place = lines.place_of(purse.line, id)
    since = place and math.min(since, place.since) or since
  end
  local windows = books.windows(session.now)
  for _, purse in ipairs(purses) do
    local budget, scope, field, left = purse.budget, purse.scope, nil, nil
    local count = count_of(plan, scope.kind, scope.name, windows[purse.period])
    local unpriced = reserve.unpriced and budget[1]
    if unpriced then
      field, left = 'price', 0
    else
      field, left = books.short(budget, spent(count.numbers, plan.own[count]), reserve.bound)
    end
    if field then
      give_up(plan, purses, windows)
      local retry_at = not unpriced and books.next_window(purse.period)
      return { reserve.call, scope.text, 'budget', session.now, retry_at, field, left, purse.period, budget[4] }
    end
    local taken = books.more(count.numbers, lines.kept(purse.line, id, since))
    field, left = books.short(budget, taken, reserve.bound)
    busy = busy or (field and { purse, field, left })
  end
  if not busy then
    return nil
  end
  local purse, retry_at = busy[1], session.now + lines.PATIENCE
  local place = { id = id, since = since, till = retry_at + lines.GRACE, called = false, bound = reserve.bound }
  lines.put(purse.field, lines.joined(purse.line, place))
  return {
    reserve.call, purse.scope.text, 'busy', session.now, retry_at, busy[2], busy[3], purse.period, purse.budget[4],
  }
end

-- Plans a reservation: call, bound, model, rates; why it has no room.
function money.reserve(plan, reserve)
  local name = calls.name(plan, 0, reserve.call)
  if calls.named(plan, name) then
    return nil -- it is the same, and was granted before
  end
  local purses = purses_of(plan, reserve.model)
  local refusal = (purses[1] and over_budget(plan, reserve, purses)) or rates.refusal(plan, reserve)
  if refusal then
    return refusal
  end
  for _, purse in ipairs(purses) do
    if lines.place_of(purse.line, plan.t.id) then
      plan.left[purse.field] = lines.without(purse.line, plan.t.id)
    end
  end
  local call = calls.new(plan, 'reserved', reserve.model, reserve.bound)
  call.taken = rates.take(plan, reserve)
  put(plan, name, call, reserve.bound, reserve.bound, 1)
  local windows = books.windows(session.now)
  for _, scope in ipairs(scopes_of(plan, reserve.model)) do
    for _, period in ipairs(scope.periodic and PERIODS or { '' }) do
      local count = count_of(plan, scope.kind, scope.name, windows[period])
      plan.own[count] = books.more(plan.own[count] or NOTHING, reserve.bound)
    end
  end
  plan.reserved = plan.reserved .. (plan.reserved ~= '' and '\n' or '') .. name
  return nil
end

-- -- the books

-- Who waits for room in budgets where there is more now than before; called when everything else is written.
local function call_those_who_wait(plan)
  if redis.call('EXISTS', session.key('lines')) == 0 then
    return
  end
  local known, fields, windows = {}, {}, books.windows(session.now)
  for model in pairs(plan.models) do
    for _, purse in ipairs(purses_of(plan, model)) do
      if not known[purse.field] and purse.line[1] then
        known[purse.field] = purse
        fields[#fields + 1] = purse.field
      end
    end
  end
  table.sort(fields)
  local called = {}
  for at, field in ipairs(fields) do
    local purse = known[field]
    local count = count_of(plan, purse.scope.kind, purse.scope.name, windows[purse.period])
    local after, ids = lines.called(purse.line, purse.budget, count.numbers)
    lines.put(field, after)
    called[at] = { purse.scope.text, ids }
  end
  for _, each in ipairs(called) do
    lines.wake(each[1], each[2])
  end
end

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
  for field, line in pairs(plan.left) do
    lines.put(field, line)
  end
  if plan.reserved ~= (plan.t.calls or '') then
    rows.put(plan.t, 'calls', plan.reserved ~= '' and plan.reserved)
  end
  rates.write(plan)
  if plan.gives_room then
    call_those_who_wait(plan)
  end
end

-- The attempt that held a task is over: its calls that are still reserved are unknown.
function money.abandon(t)
  local plan = money.plan(t)
  for name in t.calls:gmatch('[^\n]+') do
    local call = calls.named(plan, name)
    call.state = 'unknown'
    put(plan, name, call, NOTHING, less(NOTHING, call.bound), 0)
  end
  plan.reserved, plan.gives_room = '', true
  money.write(plan)
end

-- Plans what a record says of calls; why a reservation has no room.
function money.planned(plan, settles, reserves)
  for _, settle in ipairs(settles) do
    money.settle(plan, settle, true)
  end
  for _, reserve in ipairs(reserves) do
    local refusal = money.reserve(plan, reserve)
    if refusal then
      return refusal
    end
  end
  return nil
end
