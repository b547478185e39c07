-- The calls of a task's ledger, and what a record may say of them (`rules/calls.py`).

calls = {}

local whole = session.whole

-- Under which name a call is stored. Attempt 0: the one that holds the task.
function calls.name(plan, attempt, call)
  return whole(attempt > 0 and attempt or plan.t.attempt or 0) .. ':' .. call
end

-- The call of that name as the plan has it; false where there is none.
function calls.named(plan, name)
  local call = plan.calls[name]
  if call == nil then
    local text = redis.call('HGET', session.key('ledger:') .. plan.t.id, name)
    call = text and books.read_call(text) or false
    plan.calls[name] = call
  end
  return call
end

-- One more call.
function calls.new(plan, state, model, bound)
  local order = redis.call('HLEN', session.key('ledger:') .. plan.t.id) + plan.added
  plan.added = plan.added + 1
  return { order = whole(order), state = state, model = model, bound = bound, at = session.now, taken = {} }
end

-- It is this reservation that was granted, as far as it was counted.
local function same(call, reserve)
  local units = {}
  for _, rate in ipairs(reserve.rates) do
    units[rate[1]] = rate[2]
  end
  for _, taken in ipairs(call.taken) do
    if units[taken.key] ~= taken.units then
      return false
    end
  end
  return call.model == reserve.model and books.words(call.bound) == books.words(reserve.bound)
end

-- What a record says of calls that cannot be: why, the call and the attempt; nil where there is nothing.
function calls.objection(plan, settles, reserves)
  local attempt, names = plan.t.attempt, {}
  for _, settle in ipairs(settles) do
    if settle.attempt > attempt then
      return { 'early', settle.call, settle.attempt }
    end
    names[calls.name(plan, settle.attempt, settle.call)] = true
  end
  for _, reserve in ipairs(reserves) do
    local name = calls.name(plan, 0, reserve.call)
    local call = calls.named(plan, name)
    if names[name] then
      return { 'twice', reserve.call, attempt }
    elseif call and call.state ~= 'reserved' then
      return { 'settled', reserve.call, attempt }
    elseif call and not same(call, reserve) then
      return { 'other', reserve.call, attempt }
    end
    names[name] = true
  end
  return nil
end
