-- Leases. `last` is the last beat of any node, `since` the first of those that followed each other
-- with less than a lease between them.
local HOLDERS, LEASES = P .. 'holders', P .. 'leases'
local UNKNOWN = 60000 -- ms; the length of a lease that has lost it, until the next beat tells

local function length_of(node)
  return sound(call('HGET', LEASES, node)) or UNKNOWN
end

local function renew_all()
  local holders = call('ZRANGE', HOLDERS, 0, -1, 'WITHSCORES')
  for i = 1, #holders, 2 do
    if tonumber(holders[i + 1]) > 0 then -- 0: condemned, and it stays so
      call('ZADD', HOLDERS, now + length_of(holders[i]), holders[i])
    end
  end
end

-- After a silence longer than a lease, or a step of the clock, nobody can be called late.
local function is_gap(lease)
  local last = sound(meta[2])
  return not last or ms < last or ms - last > lease
end

local function hear(node, lease)
  if is_gap(lease) then
    renew_all()
    call('HSET', KEYS[1], 'since', ms)
  end
  call('ZADD', HOLDERS, now + lease, node)
  call('HSET', LEASES, node, lease)
  call('HSET', KEYS[1], 'last', ms)
end
