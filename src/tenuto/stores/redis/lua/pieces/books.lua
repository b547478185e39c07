-- Money, tokens and requests: what is kept (`stores/books.py`).
--
--   ledger:<task>           hash: <attempt>:<call> -> lines: order, state, model, bound, at, actual, when it was settled;
--                           and for each rate that it has taken: key, units, tat, interval, given
--   count:<kind>:<window>   hash: name -> counted (money, tokens, requests), reserved (the same), calls. The window is a
--                           day, a month, or empty: all time. The name of the total is empty
--   days                    set: days with counts
--   budgets                 hash: <scope> 0x1F <period> -> money, tokens, requests ("-": no limit), what to do there
--   paces                   hash: key of a rate -> until when it is slow, milliseconds given back, virtual time, what part of
--                           their units calls use; and a line for each owner who waits or has got more: name 0x1F tag
--                           0x1F until 0x1F when its calls were told to come back: at, step, calls
--
-- In a task's hash: `calls`, the names of its reserved calls, one to a line. An amount is {money, tokens, requests}.

books = {}

books.LITTLE = 0.05 -- the part of their units that calls use, as long as nobody knows

local DAY = 86400000
local NEVER = 10000000000
local FIELDS = { 'money', 'tokens', 'requests' }

local whole, SEPARATOR = session.whole, '\31'

-- -- the calendar

-- The year, month and day of a day since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
local function civil(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - math.floor((153 * mp + 2) / 5) + 1
end

-- The windows in which an instant lies, by period.
function books.windows(at)
  local year, month, day = civil(math.floor(at / DAY))
  local of_month = string.format('%04d-%02d', year, month)
  return { [''] = '', month = of_month, day = string.format('%s-%02d', of_month, day) }
end

-- When the window after that of now begins; false without a period.
function books.next_window(period)
  local days = math.floor(session.now / DAY)
  if period == 'month' then
    local _, month = civil(days)
    repeat
      days = days + 1
      local _, following = civil(days)
    until following ~= month
    return days * DAY
  end
  return period == 'day' and (days + 1) * DAY
end

-- -- texts

function books.words(amount)
  return whole(amount[1]) .. ' ' .. whole(amount[2]) .. ' ' .. whole(amount[3])
end

function books.numbers(text)
  local numbers = {}
  for word in text:gmatch('%S+') do
    numbers[#numbers + 1] = tonumber(word)
  end
  return numbers
end

function books.read_call(text)
  local lines = {}
  for line in (text .. '\n'):gmatch('([^\n]*)\n') do
    lines[#lines + 1] = line
  end
  local call = {
    order = lines[1], state = lines[2], model = lines[3], bound = books.numbers(lines[4]), at = tonumber(lines[5]),
    actual = lines[6], settled_at = lines[7], taken = {},
  }
  for first = 8, #lines - 4, 5 do
    call.taken[#call.taken + 1] = {
      key = lines[first], units = tonumber(lines[first + 1]), tat = tonumber(lines[first + 2]),
      interval = tonumber(lines[first + 3]), given = tonumber(lines[first + 4]),
    }
  end
  return call
end

function books.call_text(call)
  local lines = {
    call.order, call.state, call.model, books.words(call.bound), whole(call.at), call.actual or '', call.settled_at or '',
  }
  for _, taken in ipairs(call.taken) do
    lines[#lines + 1] = taken.key
    lines[#lines + 1] = whole(taken.units)
    for _, name in ipairs({ 'tat', 'interval', 'given' }) do
      lines[#lines + 1] = string.format('%.17g', taken[name])
    end
  end
  return table.concat(lines, '\n')
end

-- What is known about a rate's key beside its limit.
function books.pace(key)
  local pace = { slow = 0, given = 0, virtual = 0, used = books.LITTLE, shares = {} }
  local first, rest = (redis.call('HGET', session.key('paces'), key) or ''):match('^([^\n]+)\n?(.*)$')
  if first then
    local numbers = books.numbers(first)
    pace.slow, pace.given, pace.virtual, pace.used = numbers[1], numbers[2], numbers[3], numbers[4] or books.LITTLE
    for owner, tag, till, line in rest:gmatch('([^\n\31]*)\31([^\n\31]*)\31([^\n\31]*)\31?([^\n\31]*)') do
      local told, each = {}, books.numbers(line)
      for first = 1, #each, 3 do
        told[#told + 1] = { at = each[first], step = each[first + 1], calls = each[first + 2] }
      end
      pace.shares[owner] = { tag = tonumber(tag), till = tonumber(till), line = told }
    end
  end
  return pace
end

function books.put_pace(key, pace)
  local lines = { string.format('%s %.17g %.17g %.17g', whole(pace.slow), pace.given, pace.virtual, pace.used) }
  for owner, share in pairs(pace.shares) do
    local told = {}
    for at, each in ipairs(share.line) do
      told[at] = string.format('%.17g %.17g %s', each.at, each.step, whole(each.calls))
    end
    lines[#lines + 1] = string.format('%s\31%.17g\31%s\31%s', owner, share.tag, whole(share.till), table.concat(told, ' '))
  end
  redis.call('HSET', session.key('paces'), key, table.concat(lines, '\n'))
end

-- One amount and another one.
function books.more(one, other)
  return { one[1] + other[1], one[2] + other[2], one[3] + other[3] }
end

-- -- budgets and paces

-- A budget as it lies in the hash: limits, false for none, and what to do at them.
function books.read_budget(text)
  local budget = {}
  for word in text:gmatch('%S+') do
    budget[#budget + 1] = tonumber(word) or (word ~= '-' and word)
  end
  return budget
end

-- Which field of a budget has no room for a bound where so much is used already, and what is left of it; nil when all
-- have.
function books.short(budget, used, bound)
  for at, field in ipairs(FIELDS) do
    local limit = budget[at]
    if limit and bound[at] > 0 and used[at] + bound[at] > limit then
      return field, math.max(limit - used[at], 0)
    end
  end
  return nil
end

-- Stores the budget of a scope: limits (false for none), and what to do at them.
function books.put_budget(scope, period, budget)
  local words = {}
  for at = 1, 3 do
    words[at] = budget[at] and whole(budget[at]) or '-'
  end
  words[4] = budget[4]
  redis.call('HSET', session.key('budgets'), scope .. SEPARATOR .. period, table.concat(words, ' '))
end

-- Stores the budget of a new task, given as JSON.
function books.put_own(id, text)
  local own, budget = cjson.decode(text), {}
  for at, field in ipairs(FIELDS) do
    budget[at] = type(own[field]) == 'number' and own[field] or false
  end
  budget[4] = own.at_limit or 'fail'
  books.put_budget('task:' .. id, '', budget)
end

-- Nothing that names a rate is granted for so long; until when.
function books.slow(key, delay)
  local pace = books.pace(key)
  pace.slow = math.max(pace.slow, session.now + delay)
  books.put_pace(key, pace)
  return pace.slow
end

-- What was taken of a rate before it was dropped is not given back to the next one under its key, and whoever waited
-- waits for nothing.
function books.start_afresh(key)
  local pace = books.pace(key)
  pace.given, pace.virtual, pace.used, pace.shares = pace.given + NEVER, 0, books.LITTLE, {}
  books.put_pace(key, pace)
end

-- Forgets what belongs to tasks that were removed.
function books.forget(ids)
  local fields = {}
  for at, id in ipairs(ids) do
    fields[2 * at - 1] = 'task:' .. id .. SEPARATOR
    fields[2 * at] = 'tree:' .. id .. SEPARATOR
  end
  session.in_parts('HDEL', session.key('budgets'), fields)
  session.in_parts('HDEL', session.key('lines'), fields)
  session.in_parts('HDEL', session.key('count:task:'), ids)
  session.in_parts('HDEL', session.key('count:tree:'), ids)
end
