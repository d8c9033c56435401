-- Giving a new job to a node that is idle. Needs _clock and _move.
local LONGEST_MESSAGE = 65536 -- bytes that are sent through a bell

-- Give a job that has just been stored, alone, to a node that is idle and has asked for that: its wire goes
-- with the bell, and the fetch that the bell would have led to is spared. Whatever is not usual goes the
-- usual way. True: it is that node's, and to be counted as active.
local function hand_over(id, wire)
  local head = type(wire) == 'table' and wire[1] or wire
  if meta[4] or CLUSTERED or #head > LONGEST_MESSAGE then return false end
  local node = call('SPOP', P .. 'idle')
  if not node then
    is_silent = true
    return false
  end
  local number, ends = call('HGET', P .. 'hands', node), call('ZSCORE', P .. 'holders', node)
  if not number or has_ready() then
    call('SADD', P .. 'idle', node) -- to be rung: it asked for no more, or others come first
    return false
  end
  call('HDEL', P .. 'hands', node)
  if not ends or tonumber(ends) < now then return false end
  -- First of all: nobody has the job if nobody hears it.
  if call('PUBLISH', BELL .. node, '8 ' .. cmsgpack.pack({ QUEUE, id, number, wire })) == 0 then return false end
  call('HSET', P .. 'job:' .. id, 's', 'active', 'o', '+' .. number .. ':' .. node)
  call('HSET', P .. 'active:' .. node, number, id, 'last', number)
  return true
end
