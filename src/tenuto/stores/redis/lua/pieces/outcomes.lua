-- Committing what workers report about finished attempts (`rules/outcomes.py`).

outcomes = {}

-- A wait: {topics, topics as JSON, need, until, whether for people, all of it as JSON}. Topics are named once each.
local function suspend(t, given)
  local wait = { topics = given[2], wakes_at = given[4] or nil, for_people = given[5], text = given[6] }
  local come = {}
  for _, message in ipairs(waits.inbox(t)) do
    local topic = waits.head(message).topic
    come[topic] = topic:sub(1, 5) ~= 'task:'
  end
  local missing, topics = {}, given[1]
  for _, topic in ipairs(topics) do
    if not (come[topic] or waits.has_ended(topic) or lines.has_come(topic, t.id)) then
      missing[#missing + 1] = topic
    end
  end
  local need = math.max(math.min(given[3], #topics) - (#topics - #missing), 0)
  limits.apply(t, transitions.suspend, wait, need)
  if topics[1] and need == 0 then
    limits.apply(t, transitions.wake, 'came already')
  elseif wait.wakes_at and wait.wakes_at <= session.now then
    limits.apply(t, transitions.wake, 'due')
  else
    waits.expect(t, missing)
  end
end

-- What lies in the inbox comes too late; the numbers of steering messages are told.
local function drop_late(t)
  local late, steering = {}, {}
  for _, message in ipairs(waits.inbox(t)) do
    late[#late + 1] = message[1]
    if waits.head(message).kind == 'steer' then
      steering[#steering + 1] = message[1]
    end
  end
  waits.consume(t, late)
  return steering
end

-- Applies an outcome that is sound in itself, or `false` for one that is not: {id, attempt, nonce, ending, …}.
function outcomes.commit(outcome)
  local t = rows.reported(outcome.id)
  if not t or not outcome.ending then
    return 'invalid'
  end
  walks.settle(t)
  if not holds.fits(t, outcome.attempt, outcome.nonce) then
    return 'stale'
  elseif t.status ~= 'running' then
    if not t.lease_expires then
      return 'already'
    end
    limits.apply(t, transitions.let_go) -- it ended under its worker, which acknowledges that now
    return 'stale'
  end
  if outcome.consumed then
    waits.consume(t, outcome.consumed)
  end
  admission.put_blobs(rows.root_of(t), outcome.blobs)
  local ending = outcome.ending
  if ending == 'done' then
    local steering = t.mail and drop_late(t)
    limits.apply(t, transitions.finish, outcome.result, steering)
    ends.ended(t)
  elseif ending == 'failed' then
    limits.apply(t, transitions.fail, outcome.error)
    ends.ended(t, transitions.out_of_time(t))
  elseif ending == 'retry' then
    limits.apply(t, transitions.retry, outcome.error, outcome.delay, outcome.excused)
  elseif ending == 'wait' then
    suspend(t, outcome.wait)
  else
    limits.apply(t, transitions.release, 'handed back', outcome.pause)
  end
  return 'accepted'
end
