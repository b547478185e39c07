-- Removing whole trees, those of many tasks in pieces: the root first, so that nobody takes the rest for the whole.

purging = {}

local LISTS = 'blocked ready scheduled active waiting done failed cancelled'

local removed

session.each_request(function()
  removed = {}
end)

local function remove(t)
  local id, key = t.id, session.key
  removed[#removed + 1] = id
  local entries = {}
  for at, cursor in ipairs(events.cursors_of(t)) do
    entries[at] = cursor .. '-0'
  end
  session.in_parts('XDEL', key('events'), entries)
  session.move(key('tasks'), id, false)
  if t.kind == 'goal' then
    session.move(key('goals:') .. t.status, id, false)
  else
    session.move(key('agent:') .. t.agent .. ':' .. t.status, id, false)
  end
  if t.owner then
    session.move(key('owner:') .. t.owner, id, false)
  end
  for _, tag in ipairs(t.tags and cjson.decode(t.tags) or {}) do
    session.move(key('tag:') .. tag, id, false)
  end
  if t.unique then
    session.move(key('unique:') .. t.status .. ':' .. cjson.decode(t.unique).key, id, false)
  end
  redis.call(
    'UNLINK', rows.key(id), rows.lock(t), key('inbox:') .. id, key('heard:') .. id, key('journal:') .. id,
    key('children:') .. id, key('cursors:') .. id, key('ledger:') .. id
  )
end

-- Forgets what was counted for tasks that were removed, and agents that have none any more.
function purging.forget_agents()
  session.write_moves()
  books.forget(removed)
  for _, agent in ipairs(removed[1] and redis.call('SMEMBERS', session.key('agents')) or {}) do
    local left = 0
    for status in LISTS:gmatch('%S+') do
      left = left + redis.call('EXISTS', session.key('agent:') .. agent .. ':' .. status)
    end
    if left == 0 then
      redis.call('SREM', session.key('agents'), agent)
    end
  end
end

-- Removes the tree of a root, which is at rest, as far as this script may.
function purging.remove_tree(id)
  local root, key = rows.load(id), session.key
  local dag = key('dag:') .. id
  remove(root)
  redis.call(
    'UNLINK', key('feed:') .. id, key('blobs:') .. id, dag .. ':nodes', dag .. ':deps', dag .. ':next', dag .. ':edges'
  )
  walks.spend(1)
  if root.kids then
    walks.begin(id, { { act = 'purge', root = id } })
  end
end

-- Removes what is left of a tree without its root, as far as this script may; whether that was all.
function purging.go_on(item)
  local tree = session.key('tree:') .. item.root
  local ids
  repeat
    ids = redis.call('ZRANGE', tree, 0, math.max(math.ceil(walks.room()), 1) - 1)
    for _, id in ipairs(ids) do
      remove(rows.load(id))
    end
    session.in_parts('ZREM', tree, ids)
    walks.spend(#ids)
  until not ids[1] or walks.room() <= 0
  return not ids[1]
end
