-- needs: session, rows, families, indexes, events, lanes, limits, books, shares, rates, lines, calls, money, transitions, waits, walks, admission, holds, journal
-- Appends to journals, with children, events and consumed messages, and extends the leases (`rules/record.py`).
--
-- KEYS[1], ARGV[1…3]: see pieces/session.lua. ARGV[4]: {records, lease in ms}. A child that cannot be
-- accepted says why; whether it belongs to the tree is looked at here.
-- Returns for each: what became of it, whether the task is paused; and of an invalid one why, the child and the tree that
-- it does not belong to, or what `calls.objection` says; of a refused one what `money.reserve` says.

local again = session.begin()
if again then
  return again
end

-- Stores one step; how many the journal has grown by.
local function put(t, step)
  local key, known = step[1], journal.step(t, step[1])
  if known and known[1].state ~= 'started' then
    return 0
  end
  local head = { n = known and known[1].n, position = step[2], state = step[3], attempt = t.attempt }
  journal.put(t, key, head, step[4], step[5])
  return known and 0 or 1
end

local function spawn(t, child)
  if rows.load(child.id) then
    return
  end
  local root = rows.load(rows.root_of(t))
  events.begin_family(root)
  if t ~= root then
    events.begin_family(t)
  end
  local place = { root = root.id, parent = t.id }
  local new = admission.admit(child.id, child.fields, place, 0)
  if t.paused then
    limits.apply(new, transitions.pause, t.reason or '')
  end
end

local function objection(root, children)
  for _, child in ipairs(children) do
    if child.before then
      return { child.before }
    elseif child.id:sub(1, #root + 1) ~= root .. '.' then
      return { child.id, root }
    elseif child.after then
      return { child.after }
    end
  end
  return nil
end

local function record(each, lease)
  local t = rows.load(each.id)
  if t then
    walks.settle(t)
  end
  if not t or t.status ~= 'running' or not holds.fits(t, each.attempt, each.nonce) then
    return { 'stale', false }
  end
  local why = objection(rows.root_of(t), each.children)
  if why then
    return { 'invalid', false, why[1], why[2] }
  elseif each.unsound then
    return { 'invalid', false, each.unsound }
  end
  local plan = each.settles and money.plan(t)
  why = plan and calls.objection(plan, each.settles, each.reserves)
  if why then
    return { 'invalid', false, unpack(why) }
  elseif each.read and waits.steered(t, each.read) then
    return { 'unread', false }
  end
  local refusal = plan and money.planned(plan, each.settles, each.reserves)
  if refusal then
    return { 'refused', false, unpack(refusal) }
  end
  admission.put_blobs(rows.root_of(t), each.blobs)
  waits.consume(t, each.consumed)
  local added = 0
  for _, step in ipairs(each.steps) do
    added = added + put(t, step)
  end
  for _, child in ipairs(each.children) do
    spawn(t, child)
  end
  transitions.hold(t, lease)
  if each.steps[1] then
    transitions.recorded(t, added)
  end
  for _, event in ipairs(each.events) do
    if event[1] == 'progress' then
      transitions.progress(t, event[2], event[3])
    else
      events.tell(t, 'emitted', event[2])
    end
  end
  if plan then
    money.write(plan)
  end
  return { 'accepted', t.paused ~= nil }
end

local request, answers = cmsgpack.unpack(ARGV[4]), {}
for at, each in ipairs(request.records) do
  answers[at] = record(each, request.lease)
end
rows.write()
limits.write()
return session.finish(answers)
