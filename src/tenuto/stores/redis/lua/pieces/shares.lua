-- Shares of owners in a rate (`rules/shares.py`, function by function). A share: tag, till, and a
-- line of {at, step, calls}.

shares = {}

local GRACE = 250
local MOST = 64
local PARTS = 64

local function tag_of(pace, owner)
  local known = pace.shares[owner]
  return known and math.max(known.tag, pace.virtual) or pace.virtual
end

-- Those of a line who have not come yet.
local function ahead_of(line)
  local ahead = {}
  for _, each in ipairs(line) do
    local gone = each.at > session.now and 0
      or math.min(each.calls, math.floor((session.now - each.at) / each.step) + 1)
    if gone < each.calls then
      ahead[#ahead + 1] = { at = each.at + gone * each.step, step = each.step, calls = each.calls - gone }
    end
  end
  return ahead
end

local function waits(share)
  return share.till >= session.now or ahead_of(share.line)[1] ~= nil
end

-- Leaves those who wait, or are ahead of those who do; how many.
local function keep_alive(pace)
  local alive, count = {}, 0
  for name, share in pairs(pace.shares) do
    if waits(share) or share.tag > pace.virtual then
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

-- Puts one more call into a line; the first instant from `at` on at which nobody in it keeps the rate busy.
local function join(line, at, step)
  local free, place = at, 1
  for _, each in ipairs(line) do
    if each.at >= free + 1 then
      break
    end
    free, place = free + each.calls * each.step, place + 1
  end
  local before, after = line[place - 1], line[place]
  if before and before.step == step and free < before.at + (before.calls + 1) * step then
    before.calls = before.calls + 1
  elseif after and after.step == step and step - 1 <= after.at - free and after.at - free < 2 * step then
    after.at, after.calls = after.at - step, after.calls + 1
  elseif #line < PARTS then
    table.insert(line, place, { at = free, step = step, calls = 1 })
  elseif before and not after then
    free = math.max(free, before.at + before.calls * before.step)
    before.calls = before.calls + 1
  end
  return free
end

-- A call of an owner waits; when it is told to come back. `at`: when it were worth a try if nobody else waited. `step`:
-- for how many milliseconds the rate is busy with it.
function shares.refused(pace, owner, at, step)
  local tag, count = tag_of(pace, owner), keep_alive(pace)
  local known = pace.shares[owner]
  if not known and count >= MOST then
    return at
  end
  local line = ahead_of(known and known.line or {})
  local free = join(line, at, step)
  local till = math.max(math.ceil(line[1].at) + GRACE, known and known.till or 0)
  pace.shares[owner] = { tag = tag, till = till, line = line }
  return math.ceil(free)
end

-- A call of an owner has got units.
function shares.granted(pace, owner, units)
  local tag, count = tag_of(pace, owner), keep_alive(pace)
  local known = pace.shares[owner]
  if known or count < MOST then
    pace.shares[owner] = { tag = tag + units, till = 0, line = known and known.line or {} }
  end
  for _, share in pairs(pace.shares) do
    if waits(share) then
      pace.virtual = math.max(pace.virtual, tag)
      return
    end
  end
  pace.virtual, pace.used, pace.shares = 0, books.LITTLE, {}
end
