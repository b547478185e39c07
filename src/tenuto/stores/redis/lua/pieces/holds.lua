-- Fencing, and tasks as their workers receive them.

holds = {}

-- Whether a hold (attempt, nonce) is the task's latest, and did not end without a report.
function holds.fits(t, attempt, nonce)
  return nonce ~= 0 and (t.attempt or 0) == attempt and (t.nonce or 0) == nonce
end

local function time_left(t)
  local at = math.min(t.deadline or math.huge, t.expires_at or math.huge)
  return at < math.huge and math.max(at - session.now, 0) or ''
end

-- A claimed task; the order is that of `codec.lease_of`, and a plain one has no more than the beginning.
function holds.lease(t)
  if not t.more then
    return { t.id, t.attempt, t.nonce, t.lease_expires, t.agent, t.payload or '', t.owner or '' }
  end
  return {
    t.id, t.attempt, t.nonce, t.lease_expires, t.agent, t.payload or '', t.owner or '', rows.root_of(t),
    rows.parent_of(t) or '', t.node or '', t.run or 1, t.epoch or 0, t.failures or 0, t.losses or 0, t.steps or 0,
    t.attempt_timeout or '', time_left(t), t.retry or '', t.metadata or '', waits.inbox(t),
  }
end
