-- New tasks.

admission = {}

-- Reads fields and values in turns; there is room for what follows.
local function fields_of(flat)
  local t = {
    agent = nil, owner = nil, payload = nil, status = nil, created_at = nil, number = nil, seq = nil, cursors = nil,
    id = nil, key = nil, was = nil, fresh = nil, counted = nil, place = nil, more = nil,
  }
  for at = 1, #flat, 2 do
    t[flat[at]] = flat[at + 1]
  end
  return t
end

-- Stores a new task. `place`: root, parent, goal, node, kids, as far as it has them; `unmet`: open dependencies, or a
-- goal's nodes.
function admission.admit(id, flat, place, unmet)
  local t = fields_of(flat)
  local now, last = session.now, #flat
  local function set(name, value)
    t[name] = value
    flat[last + 1], flat[last + 2] = name, type(value) == 'number' and session.whole(value) or value
    last = last + 2
  end
  for name, value in pairs(place) do
    set(name, value)
  end
  local late = t.run_at and t.run_at > now
  if t.kind == 'goal' then
    set('status', 'waiting')
    set('started_at', now)
    if t.timeout then
      set('expires_at', now + t.timeout)
    end
  else
    set('status', unmet > 0 and 'blocked' or (late and 'scheduled' or 'ready'))
  end
  if unmet > 0 then
    set('unmet', unmet)
  end
  set('created_at', now)
  local root = t.root or (t.kids and id)
  t.number, t.seq = session.next_number(), 1
  t.cursors = events.append(id, root, 1, 'created', 0, t.owner or '', '{"state":"' .. t.status .. '"}')
  rows.insert(id, flat, t)
  if t.budget then
    books.put_own(id, t.budget)
  end
  return t
end

-- Large values of a tree.
--   blobs:<root>   hash: content hash -> bytes
function admission.put_blobs(root, blobs)
  if blobs then
    for key, data in pairs(blobs) do
      redis.call('HSETNX', session.key('blobs:') .. root, key, data)
    end
  end
end
