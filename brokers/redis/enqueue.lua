#!lua
-- Store jobs.
-- KEYS[1]  meta
-- ARGV[4]  packed rows, as in _store
-- Returns  the positions (from 1) of the rows whose id belongs to another, unfinished job: of
--          those nothing is stored. Empty: all were accepted, now or in an earlier call. For one
--          whose unique key belongs to another job [position, that job's id, 1 where it stands for
--          this one or has taken its message, else 0]
-- include: _clock _move _lock _wire _store
local LONGEST_MESSAGE = 65536 -- bytes that are sent through a bell
local refused = {}
local rows = cmsgpack.unpack(ARGV[4])

-- Give a job that has just been stored, alone, to a node that is idle and has asked for that: its wire goes
-- with the bell, and the fetch that the bell would have led to is spared. Whatever is not usual goes the
-- usual way. True: it is that node's.
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
  count('active', 1)
  return true
end

for i, row in ipairs(rows) do
  local stored, other = offer(row)
  if other then
    refused[#refused + 1] = { i, other, stored == nil and 0 or 1 }
  elseif stored == nil then
    refused[#refused + 1] = i
  end
end
-- A job that may come too late, or has limits of its own, has to be looked at when it is fetched.
local row = rows[1]
if #rows == 1 and not (row[7] or row[8] or row[9] or row[11]) then
  local priority, list = next(tails)
  if list and list[1] == row[1] and hand_over(row[1], row[2]) then tails[priority] = nil end
end
flush_new()
return refused
