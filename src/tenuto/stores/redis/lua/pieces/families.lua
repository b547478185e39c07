-- Tasks below others.

families = {}

-- Tasks below one, at any depth, its children first; nil where they are more than `most`.
function families.below(t, most)
  rows.write()
  local found, ahead = {}, { t }
  local at = 1
  while ahead[at] do
    if ahead[at].kids then
      local children = session.key('children:') .. ahead[at].id
      if #found + redis.call('ZCARD', children) > most then
        return nil
      end
      for _, id in ipairs(redis.call('ZRANGE', children, 0, -1)) do
        local child = rows.load(id)
        found[#found + 1] = child
        ahead[#ahead + 1] = child
      end
    end
    at = at + 1
  end
  return found
end

-- Those of `below` that are not final, in the order of submission.
function families.active_below(t, most)
  local all, found = families.below(t, most), {}
  for _, each in ipairs(all or {}) do
    if not rows.is_final(each) then
      found[#found + 1] = each
    end
  end
  table.sort(found, function(one, other) return one.number < other.number end)
  return all and found
end
