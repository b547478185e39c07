-- needs: session, rows, families, indexes, events, lanes, limits, books, shares, rates, lines, calls, money, transitions, waits, admission, submission, walks, ends, journal, revival
-- Applies directives and stores messages, in order (`rules/signals.py`).
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: signals
-- Returns for each: what became of it, and what the sentence about it needs; then roots of trees with work left; then,
-- of a retry that is to be planned, its root, its token and its node. A directive for a tree with work left is not carried
-- out, nor what comes after that or after a retry to be planned.

local again = session.begin()
if again then
  return again
end

local MOST_MESSAGES = 10000
local deliver = {}

-- Does the same to everything unfinished below a task.
local function all_below(t, item)
  if t.kids then
    item.below = t.id
    walks.begin(rows.root_of(t), { item })
  end
end

function deliver.cancel(t, signal)
  limits.apply(t, transitions.cancel, signal.reason or 'cancelled on request')
  ends.ended(t, true)
  return { 'accepted' }
end

function deliver.pause(t, signal)
  if t.paused then
    return { 'already', 'paused' }
  end
  local why = signal.reason or 'paused on request'
  limits.apply(t, transitions.pause, why)
  all_below(t, { act = 'pause', why = why })
  return { 'accepted' }
end

function deliver.resume(t)
  if not t.paused then
    return { 'already', 'not paused' }
  end
  limits.apply(t, transitions.resume)
  all_below(t, { act = 'resume' })
  return { 'accepted' }
end

function deliver.elevate(t, signal)
  if not signal.priority then
    return { 'refused', 'priority' }
  end
  if (t.priority or 0) ~= signal.priority then
    limits.apply(t, transitions.elevate, signal.priority)
  end
  all_below(t, { act = 'elevate', priority = signal.priority })
  return { 'accepted' }
end

local function message(t, signal)
  if t.kind == 'goal' then
    return { 'refused', 'goal' }
  elseif signal.key and waits.has_key(t, signal.key) then
    return { 'already', 'key' }
  elseif (t.mail or 0) >= MOST_MESSAGES then
    return { 'refused', 'full' }
  end
  local number = waits.tell(t, signal.kind, signal.topic, signal.data, signal.key)
  local told = '{"kind":"' .. signal.kind .. '","topic":' .. events.quote(signal.topic)
  events.tell(t, 'signalled', told .. ',"number":' .. number .. '}')
  waits.come(t.id, signal.topic)
  return { 'accepted' }
end

local function resolve(t, signal)
  local key, how = signal.step, signal.how
  if not how then
    return { 'refused', 'how' }
  elseif t.status == 'running' then
    return { 'refused', 'running' }
  end
  local step = journal.step(t, key)
  local head = step and step[1]
  if not head or not (head.state == 'started' or (head.state == 'failed' and t.status == 'failed')) then
    return { 'refused', 'step' }
  end
  if how == 'done' then
    head.state = 'done'
    journal.put(t, key, head, '', signal.value)
  elseif how == 'fail' then
    head.state = 'failed'
    local error = string.format(
      '{"type":"Resolved","message":%s,"at":%.0f,"attempt":%d}', events.quote(signal.value), session.now, head.attempt
    )
    journal.put(t, key, head, error, step[3])
  else
    journal.drop(t, key)
    limits.apply(t, transitions.recorded, -1)
  end
  events.tell(t, 'resolved', '{"key":' .. events.quote(key) .. ',"how":"' .. how .. '"}')
  if t.paused and not rows.is_final(t) then
    limits.apply(t, transitions.resume)
  end
  return { 'accepted' }
end

local DIRECTIVES = { cancel = true, pause = true, resume = true, elevate = true, retry = true, resolve = true }

local answers, busy, plan = {}, nil, nil
for at, signal in ipairs(cmsgpack.unpack(ARGV[4])) do
  local t = rows.load(signal.id)
  if t and DIRECTIVES[signal.kind] and walks.is_left(rows.root_of(t)) then
    busy = rows.root_of(t)
    break
  elseif t then
    walks.settle(t)
  end
  if not t then
    answers[at] = { 'unknown', 'unknown' }
  elseif signal.kind == 'retry' then
    answers[at] = revival.retry(t, signal.fresh, ARGV[2] .. '-plan')
    if not answers[at] then
      plan = { t.goal or t.id, ARGV[2] .. '-plan', t.node or false }
      break
    end
  elseif signal.kind == 'resolve' then
    answers[at] = resolve(t, signal)
  elseif rows.is_final(t) then
    answers[at] = { 'finished', 'final', t.status }
  else
    answers[at] = (deliver[signal.kind] or message)(t, signal)
  end
end
rows.write()
limits.write()
local roots = walks.unfinished()
roots[#roots + 1] = busy
return session.finish({ answers, roots, plan or false })
