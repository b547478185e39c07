-- The state machine: each function is the one of `tasks/transitions.py` with its name, and changes the row in place.

transitions = {}

local MOST_LOSSES = 5

-- A task is in its state since the latest of `created_at`, `started_at`, `finished_at` and, where that is none of them,
-- `since`.

-- What a task that is revived, and one that has ended, has no more.
local FORGOTTEN = {
  'failures', 'losses', 'lease_expires', 'nonce', 'run_at', 'finished_at', 'artifacts', 'last_error', 'progress', 'reason',
}
local ENDED = { 'wait', 'wakes_at', 'for_people', 'unmet', 'gate', 'paused' }

local function moved(t, status, kind, data, changes)
  rows.put(t, 'status', status)
  rows.put(t, 'since', session.now)
  rows.set(t, changes)
  events.tell(t, kind, data)
end

-- `held`: its worker still has to let go.
local function ended(t, status, kind, data, held)
  rows.put(t, 'status', status)
  rows.put(t, 'finished_at', session.now)
  if not held then
    rows.put(t, 'lease_expires', false)
    session.forget(rows.lock(t))
  end
  if t.more then
    for _, name in ipairs(ENDED) do
      rows.put(t, name, false)
    end
  end
  events.tell(t, kind, data)
end

-- An error as JSON, dated. `error`: type, message, traceback.
local function dated(t, error)
  return string.format(
    '{"type":%s,"message":%s,"traceback":%s,"at":%.0f,"attempt":%d}',
    events.quote(error[1]), events.quote(error[2]), events.quote(error[3] or ''), session.now, t.attempt or 0
  )
end

transitions.dated = dated

local function later(t)
  return t.run_at and t.run_at > session.now
end

-- The last open dependency of a blocked task was met.
function transitions.meet(t)
  if later(t) then
    moved(t, 'scheduled', 'scheduled', '{"due":' .. session.whole(t.run_at) .. '}', { unmet = false })
  else
    moved(t, 'ready', 'ready', '{"why":"dependencies met"}', { unmet = false })
  end
end

-- The time of a scheduled task has come.
function transitions.ripen(t)
  moved(t, 'ready', 'ready', '{"why":"due"}', {})
end

local function lock(t, lease)
  redis.call('SET', rows.lock(t), t.worker or '', 'PXAT', session.whole(session.time + math.max(lease, 1)))
end

-- A worker takes a ready task. `data`: its name, as JSON.
function transitions.claim(t, worker, data, nonce, lease)
  local now, put = session.now, rows.put
  put(t, 'status', 'running')
  put(t, 'attempt', (t.attempt or 0) + 1)
  put(t, 'nonce', nonce)
  put(t, 'worker', worker)
  put(t, 'lease_expires', now + lease)
  if t.started_at then
    put(t, 'since', now)
  else
    put(t, 'started_at', now)
    if t.timeout then
      put(t, 'expires_at', now + t.timeout)
    end
  end
  lock(t, lease)
  events.tell(t, 'started', data)
end

-- Running to done. `late`: numbers of steering messages that came too late.
function transitions.finish(t, result, late)
  local data = late and late[1] and '{"not_applied":[' .. table.concat(late, ',') .. ']}'
  rows.put(t, 'artifacts', result or false)
  if t.more then
    rows.set(t, { last_error = false, failures = false, reason = false })
  end
  ended(t, 'done', 'done', data)
end

-- To failed, for good.
function transitions.fail(t, error, reason)
  local told = dated(t, error)
  local failures = (t.failures or 0) + (t.status == 'running' and 1 or 0)
  rows.set(t, { last_error = told, failures = failures, reason = reason or false })
  ended(t, 'failed', 'failed', '{"error":' .. told .. '}')
end

-- Running to scheduled: the attempt failed, and the next one may begin after `delay` milliseconds.
function transitions.retry(t, error, delay, excused)
  local told, at = dated(t, error), session.now + delay
  session.forget(rows.lock(t))
  moved(t, 'scheduled', 'scheduled', '{"due":' .. session.whole(at) .. ',"error":' .. told .. '}', {
    run_at = at,
    last_error = told,
    failures = (t.failures or 0) + (excused and 0 or 1),
    lease_expires = false,
  })
end

-- Running to waiting for `missing` more topics. `wait`: see `waits`.
function transitions.suspend(t, wait, missing)
  local at = wait.wakes_at and session.whole(wait.wakes_at) or 'null'
  session.forget(rows.lock(t))
  moved(t, 'waiting', 'waiting', '{"on":' .. wait.topics .. ',"until":' .. at .. '}', {
    wait = wait.text,
    wakes_at = wait.wakes_at or false,
    for_people = wait.for_people and '1',
    unmet = missing,
    lease_expires = false,
    failures = false,
  })
end

-- One thing less that it waits for, and still something left.
function transitions.closer(t)
  rows.set(t, { unmet = (t.unmet or 0) - 1 })
end

-- A blocked task's dependency is open again.
function transitions.farther(t)
  rows.set(t, { unmet = (t.unmet or 0) + 1 })
end

-- A running goal has `nodes` more to wait for.
function transitions.more(t, nodes)
  rows.set(t, { unmet = (t.unmet or 0) + nodes })
end

-- Waiting to ready. Time spent waiting for people is given back.
function transitions.wake(t, why)
  local expires = t.expires_at
  if expires and t.for_people then
    expires = expires + session.now - t.since
  end
  moved(t, 'ready', 'ready', '{"why":' .. events.quote(why) .. '}', {
    wait = false, wakes_at = false, for_people = false, unmet = false, expires_at = expires or false,
  })
end

-- Running back to ready, unharmed; with a reason to pause it is paused as well.
function transitions.release(t, reason, pause)
  local changes = { lease_expires = false }
  if pause then
    changes.paused, changes.reason = '1', pause
  end
  session.forget(rows.lock(t))
  moved(t, 'ready', 'released', '{"reason":' .. events.quote(pause ~= '' and pause or reason) .. '}', changes)
end

-- The lease ended without a word.
function transitions.lose(t)
  local losses = (t.losses or 0) + 1
  if losses >= MOST_LOSSES then
    rows.set(t, { losses = losses, nonce = false })
    local words = 'its worker vanished ' .. losses .. ' times while it ran; the last was ' .. (t.worker or '')
    return transitions.fail(t, { 'LeaseLost', words })
  end
  session.forget(rows.lock(t))
  local data = '{"worker":' .. events.quote(t.worker or '') .. ',"losses":' .. losses .. '}'
  moved(t, 'ready', 'lost', data, { losses = losses, lease_expires = false, nonce = false })
end

-- A running task's lease is extended.
function transitions.hold(t, lease)
  rows.set(t, { lease_expires = session.now + lease })
  lock(t, lease)
end

-- Its journal has grown by `steps`, fewer than none where one was taken away.
function transitions.recorded(t, steps)
  rows.set(t, {
    steps = (t.steps or 0) + steps,
    failures = steps == 0 and t.failures or false,
    losses = steps <= 0 and t.losses or false,
  })
end

-- A ready task goes behind a limit without room; without a key it is put back.
function transitions.park(t, key)
  rows.set(t, { gate = key or false })
end

-- The worker of a task that ended under it has acknowledged, or its lease is over.
function transitions.let_go(t)
  session.forget(rows.lock(t))
  rows.set(t, { lease_expires = false, nonce = false })
end

-- Any state that is not final to cancelled, at once. A lease keeps its slots until the worker lets go.
function transitions.cancel(t, reason)
  rows.put(t, 'reason', reason)
  ended(t, 'cancelled', 'cancelled', '{"reason":' .. events.quote(reason) .. '}', t.lease_expires)
end

local function seconds(span)
  local text = string.format('%g', span / 1000)
  return (text:gsub('e([+-])0*(%d%d)$', 'e%1%2'))
end

-- The deadline or the total time limit has passed.
function transitions.expire(t)
  local error
  if t.deadline and session.now >= t.deadline then
    error = { 'Deadline', 'its deadline has passed' }
  else
    error = { 'TimeLimit', 'it used up its total time limit of ' .. seconds(t.timeout or 0) .. ' s' }
  end
  local told = dated(t, error)
  rows.set(t, { last_error = told, reason = error[2] })
  ended(t, 'failed', 'failed', '{"error":' .. told .. '}', t.lease_expires)
end

-- Whether the deadline or the total time limit has passed.
function transitions.out_of_time(t)
  local now = session.now
  return (t.deadline and t.deadline <= now) or (not t.for_people and t.expires_at and t.expires_at <= now) or false
end

function transitions.pause(t, reason)
  rows.set(t, { paused = '1', reason = reason, gate = false })
  events.tell(t, 'paused', '{"reason":' .. events.quote(reason) .. '}')
end

function transitions.resume(t)
  rows.set(t, { paused = false, reason = false })
  events.tell(t, 'resumed')
end

function transitions.elevate(t, priority)
  rows.set(t, { priority = priority })
  events.tell(t, 'elevated', '{"priority":' .. session.whole(priority) .. '}')
end

-- A final task runs again.
function transitions.revive(t, unmet, fresh)
  local goal, now = t.kind == 'goal', session.now
  local status = goal and 'waiting' or (unmet > 0 and 'blocked' or 'ready')
  local run = (t.run or 1) + 1
  local changes = {
    run = run,
    unmet = unmet > 0 and unmet,
    deadline = t.deadline and t.deadline > now and t.deadline,
    started_at = goal and now,
    expires_at = goal and t.timeout and now + t.timeout or false,
  }
  if fresh then
    changes.epoch, changes.steps = (t.epoch or 0) + 1, false
  end
  for _, name in ipairs(FORGOTTEN) do
    changes[name] = false
  end
  local data = '{"run":' .. run .. ',"fresh":' .. tostring(fresh or false) .. ',"state":"' .. status .. '"}'
  session.forget(rows.lock(t))
  moved(t, status, 'retried', data, changes)
end

-- How far a task is. `fraction`: JSON.
function transitions.progress(t, fraction, message)
  local shown = '"fraction":' .. fraction .. ',"message":' .. events.quote(message)
  rows.set(t, { progress = '{' .. shown .. ',"at":' .. session.whole(session.now) .. '}' })
  events.tell(t, 'progress', '{' .. shown .. '}')
end
