-- needs: session, rows, indexes, events, lanes, limits, transitions, waits, admission, submission, ends, journal, revival
-- Applies directives and stores messages, in order (`rules/signals.py`).
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: signals
-- Returns for each: what became of it, and what the sentence about it needs.

local again = session.begin()
if again then
  return again
end

local MOST_MESSAGES = 10000
local deliver = {}

local function unfinished(t)
  local found = { t }
  for _, each in ipairs(t.kids and rows.active_below(t) or {}) do
    found[#found + 1] = each
  end
  return found
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
  for _, each in ipairs(unfinished(t)) do
    if not each.paused then
      limits.apply(each, transitions.pause, signal.reason or 'paused on request')
    end
  end
  return { 'accepted' }
end

function deliver.resume(t)
  if not t.paused then
    return { 'already', 'not paused' }
  end
  for _, each in ipairs(unfinished(t)) do
    if each.paused then
      limits.apply(each, transitions.resume)
    end
  end
  return { 'accepted' }
end

function deliver.elevate(t, signal)
  if not signal.priority then
    return { 'refused', 'priority' }
  end
  for _, each in ipairs(unfinished(t)) do
    if (each.priority or 0) ~= signal.priority then
      limits.apply(each, transitions.elevate, signal.priority)
    end
  end
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
  ends.come(t, signal.topic)
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
  if not step or step[1].state ~= 'started' then
    return { 'refused', 'step' }
  end
  local head = step[1]
  if how == 'done' then
    head.state = 'done'
    journal.put(t, key, head, step[2], signal.value)
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

local answers = {}
for at, signal in ipairs(cmsgpack.unpack(ARGV[4])) do
  local t = rows.load(signal.id)
  if not t then
    answers[at] = { 'unknown', 'unknown' }
  elseif signal.kind == 'retry' then
    answers[at] = revival.retry(t, signal.fresh)
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
return session.finish(answers)
