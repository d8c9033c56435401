-- Jobs that are in no index. No script leaves one behind: a store that evicts keys does, or a hand
-- that goes around the scripts. Counters betray them, for each is kept with its index; then all keys
-- are walked, a page at a time. Needs _clock, _move and _take_back.
local FEW = 1000 -- jobs of a ready list that can be looked through, keys that can be summed up
local FINAL = { succeeded = true, cancelled = true, expired = true }
local refound, entries = {}, {}

local function size_of_held()
  local held = 0
  for _, node in ipairs(call('ZRANGE', P .. 'holders', 0, -1)) do
    held = held + call('HLEN', P .. 'active:' .. node) - call('HEXISTS', P .. 'active:' .. node, 'last')
  end
  return held
end

-- How many jobs are parked, by the keys that are known; what is said of each is put right.
local function size_of_parked()
  local parked, sum = P .. 'parked', 0
  if call('HLEN', parked) > FEW then return math.huge end
  local said = call('HGETALL', parked)
  for i = 1, #said, 2 do
    local size = call('ZCARD', P .. 'parked:' .. said[i])
    if size == 0 then
      call('HDEL', parked, said[i])
    elseif said[i + 1] ~= tostring(size) then
      call('HSET', parked, said[i], size)
    end
    sum = sum + size
  end
  return sum
end

-- By how many jobs each counter exceeds its index; `off:…` are differences that a walk has not
-- cleared up, and that an audit will. A counter that has lost something is put right at once where
-- its index says how many there are.
local function surpluses()
  local lost = {}
  local function compare(name, said, size)
    if said > size then lost[name] = said - size end
  end
  local function counter(name)
    return (sound(call('HGET', P .. 'stats', name)) or 0) + (counts[name] or 0)
  end
  local function compare_exactly(name, size)
    compare(name, counter(name), size)
    if counter(name) < size then count(name, size - counter(name)) end
  end
  for i = 0, 9 do compare('p' .. i, counter('p' .. i), call('LLEN', P .. 'ready:' .. i)) end
  for _, name in ipairs({ 'scheduled', 'retrying', 'failed' }) do
    compare_exactly(name, call('ZCARD', P .. name))
  end
  compare_exactly('waiting', call('ZCARD', P .. 'parking'))
  compare_exactly('active', size_of_held())
  local finished = counter('succeeded') + counter('cancelled') + counter('expired')
  local off = call('HMGET', KEYS[1], 'off:done', 'off:parked')
  compare('done', finished, call('ZCARD', P .. 'done') + (sound(off[1]) or 0))
  compare('parked', call('ZCARD', P .. 'parking'), size_of_parked() + (sound(off[2]) or 0))
  return lost
end

-- Where so much of a long ready list is gone that all its jobs are best put into it anew; a short
-- one is looked through, and of a long one that lost little an audit finds out what.
local function gone_lists(lost)
  local gone = ''
  for i = 0, 9 do
    local length, surplus = call('LLEN', P .. 'ready:' .. i), lost['p' .. i] or 0
    if surplus >= length and surplus + length > FEW then gone = gone .. i end
  end
  return gone
end

local function has_entry(id, job, priority)
  if not entries[priority] then
    entries[priority] = {}
    local list = P .. 'ready:' .. priority
    if call('LLEN', list) > 2 * FEW then return true end
    for _, entry in ipairs(call('LRANGE', list, 0, -1)) do entries[priority][entry] = true end
    entries[priority].known = true
  end
  return not entries[priority].known or entries[priority][job.q and id .. '\0' .. job.q or id]
end

local function find(name)
  refound[name] = (refound[name] or 0) + 1
end

local function check_pending(id, job, gone)
  local priority = job.p or '5'
  if string.find(gone, priority, 1, true) or not has_entry(id, job, priority) then
    push(tails, id, priority, bump(P .. 'job:' .. id, 'q', 1))
    count('p' .. priority, -1) -- it is counted, and `push` counts it again
    find('p' .. priority)
  end
end

local function check_timed(id, job)
  if not call('ZSCORE', P .. job.s, id) then
    schedule(job.s, { sound(job.t) or ms, id })
    count(job.s, -1)
    find(job.s)
  end
end

local function check_waiting(id, job)
  local key = long(id, 'y', job.y or '')
  local size = call('ZCARD', P .. 'parked:' .. key)
  if size > 0 then call('HSET', P .. 'parked', key, size) end -- it may have been forgotten
  if not call('ZSCORE', P .. 'parking', id) or not call('ZSCORE', P .. 'parked:' .. key, id) then
    unpark(id, key)
    call('HSET', P .. 'job:' .. id, 's', 'pending')
    push(heads, id, job.p or '5', job.q) -- whoever takes it parks it again if he must
    find('waiting')
  end
end

local function check_active(id, job)
  local delivery, node = string.match(job.o or '', '^%+(%d+):(.*)$')
  if delivery and call('ZSCORE', P .. 'holders', node)
      and call('HGET', P .. 'active:' .. node, delivery) == id then
    return
  end
  if delivery then
    call('HDEL', P .. 'active:' .. node, delivery)
  else -- nobody can settle it any more
    delivery, node = '0', ''
    call('HSET', P .. 'job:' .. id, 'o', '+0:')
  end
  if take_one(id, delivery, node, 1) then find('active') end
end

local function check_finished(id, job)
  local set = FINAL[job.s] and 'done' or 'failed'
  if not call('ZSCORE', P .. set, id) then
    call('ZADD', P .. set, FINAL[job.s] and now + KEEP or job.z or ms, id)
    find(set)
  end
end

local CHECKS = {
  pending = check_pending, scheduled = check_timed, retrying = check_timed, waiting = check_waiting,
  active = check_active, failed = check_finished,
  succeeded = check_finished, cancelled = check_finished, expired = check_finished,
}

local function check(id, state, gone)
  local job = read(id)
  if job.damaged and state == 'pending' then -- nothing says where it was
    call('HINCRBY', P .. 'job:' .. id, 'q', 1)
    finish(id, 'failed', job, 0, 'unreadable')
  else
    CHECKS[state](id, job, gone)
  end
end

-- What is still too much when all keys have been walked is a miscount.
local function correct(lost)
  for name, surplus in pairs(lost) do
    local rest = surplus - (refound[name] or 0)
    if name == 'done' or name == 'parked' then
      bump(KEYS[1], 'off:' .. name, math.max(rest, 0))
    elseif rest > 0 then
      count(name, -rest)
    end
  end
end

-- One page of the walk, if there is something to find; how many things were done.
local function find_lost(limit)
  local lost = surpluses()
  if not next(lost) then return 0 end
  local cursor = call('HGET', KEYS[1], 'scan') or '0'
  if cursor == '0' then call('HSET', KEYS[1], 'gone', gone_lists(lost)) end
  local gone = call('HGET', KEYS[1], 'gone') or ''
  local page = call('SCAN', cursor, 'COUNT', 10 * limit)
  local prefix = P .. 'job:'
  for _, key in ipairs(page[2]) do
    if string.sub(key, 1, #prefix) == prefix then
      local state = call('HGET', key, 's')
      if CHECKS[state] then check(string.sub(key, #prefix + 1), state, gone) end
    end
  end
  call('HSET', KEYS[1], 'scan', page[1])
  if page[1] == '0' then correct(lost) end
  return 1
end
