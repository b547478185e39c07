-- Shares of owners in a rate (`rules/shares.py`, function by function). A share: tag, till.

shares = {}

local GRACE = 250
local MOST = 64

local function tag_of(pace, owner)
  local known = pace.shares[owner]
  return known and math.max(known.tag, pace.virtual) or pace.virtual
end

-- Leaves those who wait, or are ahead of those who do; how many.
local function keep_alive(pace)
  local alive, count = {}, 0
  for name, share in pairs(pace.shares) do
    if share.till >= session.now or share.tag > pace.virtual then
      alive[name], count = share, count + 1
    end
  end
  pace.shares = alive
  return count
end

-- The share of the one who goes before an owner; nil where nobody does.
function shares.first_in_line(pace, owner)
  local best
  for name, share in pairs(pace.shares) do
    if share.till >= session.now and name ~= owner then
      if not best or share.tag < best.tag or (share.tag == best.tag and share.till < best.till) then
        best = share
      end
    end
  end
  return best and best.tag < tag_of(pace, owner) and best or nil
end

-- A call of an owner waits, and was told to come back at an instant.
function shares.refused(pace, owner, at)
  local tag, count = tag_of(pace, owner), keep_alive(pace)
  local known = pace.shares[owner]
  if known or count < MOST then
    pace.shares[owner] = { tag = tag, till = math.max(at + GRACE, known and known.till or 0) }
  end
end

-- A call of an owner has got units.
function shares.granted(pace, owner, units)
  local tag, count = tag_of(pace, owner), keep_alive(pace)
  if pace.shares[owner] or count < MOST then
    pace.shares[owner] = { tag = tag + units, till = 0 }
  end
  for _, share in pairs(pace.shares) do
    if share.till >= session.now then
      pace.virtual = math.max(pace.virtual, tag)
      return
    end
  end
  pace.virtual, pace.shares = 0, {}
end
