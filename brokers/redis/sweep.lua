#!lua flags=allow-oom
-- One slice of housekeeping.
-- KEYS[1]  meta
-- ARGV[4]  how many things at most
-- ARGV[5]  ms for which failed jobs are kept
-- ARGV[6]  how many failed jobs are kept
-- Returns  how many things were done or looked at in vain; 0: all clean
-- include: _clock _move _take_back
local FINISHED = { succeeded = true, failed = true, cancelled = true, expired = true }
local IDLE = { scheduled = true, pending = true, waiting = true, retrying = true }
local limit, work = tonumber(ARGV[4]), 0

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
      finish(id, state, job.v, KEEP)
    end
    work = work + 1
  end
end

local function is_own(entry, priority)
  local id, generation = entry, false
  local mark = string.find(entry, '\0', 1, true)
  if mark then id, generation = string.sub(entry, 1, mark - 1), string.sub(entry, mark + 1) end
  local job = call('HMGET', P .. 'job:' .. id, 's', 'p', 'q')
  return job[1] == 'pending' and (job[2] or '5') == priority and job[3] == generation
end

-- Drop disowned entries among the next ones of a ready list; `at:PRIORITY` says where to go on.
local function drop_entries(priority, owned)
  local list, place = P .. 'ready:' .. priority, 'at:' .. priority
  local length = call('LLEN', list)
  local most = room()
  if length <= owned or most == 0 then return end
  if owned <= 0 then
    work = work + 1
    call('HDEL', KEYS[1], place)
    return call('UNLINK', list)
  end
  local from = tonumber(call('HGET', KEYS[1], place) or 0)
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

-- An active job that no node's set holds, or a set of a node that is not known, is only left behind
-- by a hand that went around the scripts. The counter betrays it; then all keys are walked.
local function find_strays()
  local stats, held = P .. 'stats', 0
  for _, node in ipairs(call('ZRANGE', P .. 'holders', 0, -1)) do
    held = held + call('HLEN', P .. 'active:' .. node) - call('HEXISTS', P .. 'active:' .. node, 'last')
  end
  local strays = (call('HGET', stats, 'active') or 0) - held
  if strays <= 0 then return end
  local page = call('SCAN', call('HGET', KEYS[1], 'scan') or '0', 'COUNT', 10 * limit)
  local prefix = P .. 'job:'
  for _, key in ipairs(page[2]) do
    if string.sub(key, 1, #prefix) == prefix and call('HGET', key, 's') == 'active' then
      local number, node = string.match(call('HGET', key, 'o') or '', '^.(%d+):(.*)$')
      local id = string.sub(key, #prefix + 1)
      if not (number and call('ZSCORE', P .. 'holders', node)
          and call('HGET', P .. 'active:' .. node, number) == id) then
        if number then call('HDEL', P .. 'active:' .. node, number) end
        if take_one(id, number or '', node or '', 1) then strays = strays - 1 end
      end
    end
  end
  work = work + 1
  call('HSET', KEYS[1], 'scan', page[1])
  if page[1] == '0' then count('active', -strays) end -- all were seen: the rest is a miscount
end

remove_old()
end_late('expiring', 'expired')
end_late('parking', 'failed')
local owned = call('HMGET', P .. 'stats', 'p0', 'p1', 'p2', 'p3', 'p4', 'p5', 'p6', 'p7', 'p8', 'p9')
for i = 0, 9 do
  drop_entries(tostring(i), (owned[i + 1] or 0) + (counts['p' .. i] or 0))
end
find_strays()
flush()
return work
