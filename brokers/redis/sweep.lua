#!lua flags=allow-oom
-- One slice of housekeeping.
-- KEYS[1]  meta
-- ARGV[4]  how many things at most
-- ARGV[5]  ms for which failed jobs are kept
-- ARGV[6]  how many failed jobs are kept
-- Returns  how many things were done or looked at in vain; 0: all clean
-- include: _clock _move _gates _take_back _lost
local FINISHED = { succeeded = true, failed = true, cancelled = true, expired = true }
local IDLE = { scheduled = true, pending = true, waiting = true, retrying = true }
local limit, work = tonumber(ARGV[4]), 0
local TRIED = 20

-- How many more things this slice may do.
local function room()
  return math.max(0, limit - work)
end

local function remove_all(ids)
  for _, id in ipairs(ids) do
    local state = call('HGET', P .. 'job:' .. id, 's')
    if FINISHED[state] then
      bury(id, state)
    else
      call('ZREM', P .. 'done', id)
      call('ZREM', P .. 'failed', id)
    end
    work = work + 1
  end
end

local function remove_old()
  remove_all(call('ZRANGEBYSCORE', P .. 'done', '-inf', now, 'LIMIT', 0, room()))
  remove_all(call('ZRANGEBYSCORE', P .. 'failed', '-inf', now - ARGV[5], 'LIMIT', 0, room()))
  local surplus = call('ZCARD', P .. 'failed') - ARGV[6]
  local most = math.min(surplus, room())
  if most > 0 then remove_all(call('ZRANGE', P .. 'failed', 0, most - 1)) end
end

-- Waiting jobs whose time is up: `expiring` holds every idle one that has an end, `parking` every
-- parked one.
local function end_late(set, state)
  for _, id in ipairs(call('ZRANGEBYSCORE', P .. set, '-inf', now, 'LIMIT', 0, room())) do
    local job = read(id)
    call('ZREM', P .. set, id)
    if IDLE[job.s] then
      leave(id, job)
      finish(id, state, job, KEEP)
    end
    work = work + 1
  end
end

local function is_own(entry, priority)
  local id, generation = entry, false
  local mark = string.find(entry, '\0', 1, true)
  if mark then id, generation = string.sub(entry, 1, mark - 1), string.sub(entry, mark + 1) end
  local job = call('HMGET', P .. 'job:' .. id, 's', 'p', 'q')
  return job[1] == 'pending' and level(job[2]) == priority and job[3] == generation
end

-- Drop disowned entries among the next ones of a ready list; `at:PRIORITY` says where to go on.
local function drop_entries(priority, owned)
  local list, place = P .. 'ready:' .. priority, 'at:' .. priority
  local length = call('LLEN', list)
  local most = room()
  -- However few the counter says there are, each entry is looked at: a counter may be lost.
  if length <= owned or most == 0 then return end
  local from = sound(call('HGET', KEYS[1], place)) or 0
  local entries, dropped = call('LRANGE', list, from, from + most - 1), 0
  for i, entry in ipairs(entries) do
    if not is_own(entry, priority) then
      call('LSET', list, from + i - 1, '')
      dropped = dropped + 1
    end
  end
  -- Counted from the nearer end, so that the walk is no longer than it must be.
  if dropped > 0 then call('LREM', list, from * 2 < length and dropped or -dropped, '') end
  from = from + #entries - dropped
  if #entries < most then from = 0 end
  call('HSET', KEYS[1], place, from)
  work = work + dropped + (from > 0 and 1 or 0)
end

-- What limits leave behind: buckets that are full again, pauses that are over. And gates that only an
-- event opens are tried, and those that open last: the event may have been lost with a key, the clock may
-- have gone back.
local function tidy_limits()
  local full = call('ZRANGEBYSCORE', P .. 'tats', '-inf', now, 'LIMIT', 0, limit)
  if #full > 0 then call('ZREM', P .. 'tats', unpack(full)) end
  if not FLOW then return end
  for _, hash in ipairs({ 'limits', 'keylimits' }) do
    local cursor, flat = '0', nil
    repeat
      cursor, flat = unpack(call('HSCAN', P .. hash, cursor, 'MATCH', 'p:*', 'COUNT', 1000))
      for i = 1, #flat, 2 do
        if (sound(flat[i + 1]) or NEVER) <= now then call('HDEL', P .. hash, flat[i]) end
      end
    until cursor == '0'
  end
  for _, key in ipairs(call('ZREVRANGEBYSCORE', P .. 'gates', '(' .. NEVER, now, 'LIMIT', 0, TRIED)) do open_gate(key) end
  for _, key in ipairs(call('ZRANGEBYSCORE', P .. 'gates', NEVER, NEVER, 'LIMIT', 0, TRIED)) do open_gate(key) end
end

remove_old()
tidy_limits()
end_late('expiring', 'expired')
end_late('parking', 'failed')
local owned = call('HMGET', P .. 'stats', 'p0', 'p1', 'p2', 'p3', 'p4', 'p5', 'p6', 'p7', 'p8', 'p9')
for i = 0, 9 do
  drop_entries(tostring(i), (sound(owned[i + 1]) or 0) + (counts['p' .. i] or 0))
end
work = work + find_lost(limit)
flush_gates()
flush()
return work
