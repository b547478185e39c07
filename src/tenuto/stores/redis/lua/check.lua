-- needs: session, rows, indexes, lanes
-- Whether the indexes say of tasks what the tasks say of themselves. Changes nothing.
--
-- KEYS[1]  <prefix>store
-- ARGV[1]  begins after the task of this number   ARGV[2]  at most so many tasks
-- Returns the number of the last task that was looked at, nil when it was the last of all; then what is wrong, a name
-- for each task and fault (`maintenance.py` has the sentences).

local wrong = {}

local function holds(key, member)
  return redis.call('ZSCORE', key, member)
end

local function expect(holds_true, name)
  if not holds_true then
    wrong[#wrong + 1] = name
  end
end

-- Whether what is left of a tree is being removed.
local function is_removed(root)
  return redis.call('ZSCORE', session.key('walks'), root) and not rows.exists(root)
end

local function look_at(t)
  local at = indexes.of(t)
  expect(holds(at.list, t.id), 'unlisted')
  if at.stand then
    expect(holds(at.stand, t.place), 'nowhere')
  end
  if at.claimable then
    expect(holds(session.key('lanes:') .. (t.band or 0) .. ':' .. t.agent, t.owner or ''), 'closed')
  end
  if at.due then
    expect(tonumber(holds(session.key('due'), t.place) or 0) == at.due, 'untimed')
  end
  if at.lease then
    local from = tonumber(holds(session.key('leases'), t.agent) or math.huge)
    expect(tonumber(holds(at.list, t.id) or 0) == at.lease and from <= at.lease, 'untimed')
  end
  if at.rest then
    expect(holds(at.rest, t.place), 'kept')
  end
  if t.status == 'running' then
    expect(t.lease_expires, 'unleased')
  end
  if t.root then
    expect((rows.exists(t.root) and rows.exists(rows.parent_of(t))) or is_removed(t.root), 'orphaned')
  end
end

local last
local numbered = redis.call(
  'ZRANGEBYSCORE', session.key('tasks'), '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2]
)
for at = 1, #numbered, 2 do
  last = numbered[at + 1]
  local t = rows.load(numbered[at])
  if t then
    look_at(t)
  else
    wrong[#wrong + 1] = 'lost'
  end
end
return { #numbered == 2 * ARGV[2] and last, wrong }
