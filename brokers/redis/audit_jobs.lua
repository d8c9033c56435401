#!lua flags=allow-oom
-- Check jobs: each has what it needs, and is in the index of its state.
-- KEYS[1]  meta
-- ARGV[4]  1: mend what is found
-- ARGV[5]  how many entries of ready lists may be read
-- ARGV[6]  packed ids of jobs, some of which may be gone
-- ARGV[7]  packed rows of [kind, id] of keys beside records: `body:` …
-- Returns  [findings, and rows of [id, priority, entry, last delivery] of pending jobs whose ready
--          list is too long to look for them]
-- include: _clock _move _gates _take_back _audit
local SLACK = 2 -- ms by which a time in an index may differ from that in the record
local lists, budget, unsure = {}, tonumber(ARGV[5]), {}

-- The entries of a ready list; false: it is too long.
local function list_of(priority)
  if lists[priority] ~= nil then return lists[priority] end
  local length, entries = call('LLEN', P .. 'ready:' .. priority), false
  if length <= budget then
    budget, entries = budget - length, {}
    for _, entry in ipairs(call('LRANGE', P .. 'ready:' .. priority, 0, -1)) do entries[entry] = true end
  end
  lists[priority] = entries
  return entries
end

-- To the dead letter, whatever index it is in.
local function to_failed(id, job, reason)
  for _, set in ipairs({ 'scheduled', 'retrying', 'parking', 'expiring', 'done', 'failed' }) do
    call('ZREM', P .. set, id)
  end
  finish(id, 'failed', job, 0, reason)
end

local function check_pending(id, job)
  local priority = job.p or '5'
  local entry, list = job.q and id .. '\0' .. job.q or id, list_of(priority)
  if not list then
    unsure[#unsure + 1] = { id, priority, entry, job.o or '' }
  elseif not list[entry] then
    found('unindexed', id, 'pending, and not in ready:' .. priority,
      function() place_again(id, job) end, 1, { 'p' .. priority })
  end
end

-- `scheduled` and `retrying` are both the name of a state and of its index.
local function check_timed(id, job)
  local at, due = call('ZSCORE', P .. job.s, id), sound(job.t)
  if at and due and math.abs(at - due) > SLACK then
    found('misplaced', id, 'in ' .. job.s .. ' at another time than its own', function()
      call('ZREM', P .. job.s, id)
      schedule(job.s, { due, id })
      count(job.s, -1)
    end)
  end
  if at then return end
  found('unindexed', id, job.s .. ', and not in the index of that', function()
    schedule(job.s, { sound(job.t) or ms, id })
    count(job.s, -1)
  end, 1, { job.s })
end

local function check_waiting(id, job)
  local key = long(id, 'y', job.y or '')
  local missing = {}
  if not call('ZSCORE', P .. 'parked:' .. key, id) then missing[1] = 'parked:' .. key end
  if not call('ZSCORE', P .. 'parking', id) then missing[#missing + 1] = 'waiting' end
  if #missing == 0 then return end
  -- Whoever takes it parks it again if he must.
  local function to_pending()
    unpark(id, job.y or '')
    call('HSET', P .. 'job:' .. id, 's', 'pending')
    push(heads, id, job.p or '5', job.q)
  end
  local where = missing[1] == 'waiting' and 'parking' or missing[1]
  found('unindexed', id, 'waiting, and not in ' .. where, to_pending, 1, missing)
end

local function check_active(id, job)
  local number, node = string.match(job.o or '', '^%+(%d+):(.*)$')
  if not number or call('HGET', P .. 'active:' .. node, number) ~= id then
    found('unheld', id, 'active, and in no set of a node', function()
      if not number then -- no node may settle it any more
        number, node = '0', ''
        call('HSET', P .. 'job:' .. id, 'o', '+0:')
      end
      take_one(id, number, node, 1)
    end, 1, { 'active' })
  elseif job.j and not call('ZSCORE', P .. 'places:' .. long(id, 'j', job.j), id) then
    local places = 'places:' .. long(id, 'j', job.j)
    found('unindexed', id, 'active, and not in ' .. places, function() call('ZADD', P .. places, ms, id) end)
  elseif job.u and call('HGET', P .. 'cancel:' .. node, number) ~= id then
    found('mark', id, 'to be cancelled, and its node is not told', function()
      call('HSET', P .. 'cancel:' .. node, number, id)
      call('PUBLISH', BELL .. node, '2 ' .. QUEUE .. ' ' .. id)
    end)
  end
end

local function check_finished(id, job)
  local set = job.s == 'failed' and 'failed' or 'done'
  if not call('ZSCORE', P .. set, id) then
    local time = set == 'failed' and (job.z or ms) or now + KEEP
    found('unindexed', id, job.s .. ', and not in ' .. set,
      function() call('ZADD', P .. set, time, id) end, 1, { job.s })
  end
end

-- Beside a record that is gone nothing is of use but what there is of the message: with it the job is one
-- again, to be looked at.
local function check_traces(id, job)
  local names, keys = {}, {}
  for _, kind in ipairs({ 'body', 'result', 'errors', 'more' }) do
    if call('EXISTS', P .. kind .. ':' .. id) == 1 then
      names[#names + 1] = kind
      keys[#keys + 1] = P .. kind .. ':' .. id
    end
  end
  if #keys == 0 then return end
  if names[1] == 'body' and not job.s then
    found('lost', id, 'its record is gone, its message is there, or most of it', function()
      call('UNLINK', P .. 'result:' .. id, P .. 'more:' .. id)
      call('HSET', P .. 'job:' .. id, 'c', MS)
      to_failed(id, job, 'record lost')
    end)
  else
    found('leftover', id, table.concat(names, ', ') .. ' of a job that is gone',
      function() call('UNLINK', unpack(keys)) end)
  end
end

-- An unfinished job has its unique key, unless the time for which it is unique is over.
local function check_lock(id, job)
  local ends = sound(job.he)
  if ends and ends <= now then return end
  local other = call('HGET', P .. 'locks', job.h)
  if other == id then return end
  found('lock', id, 'unique, and its key is ' .. (other and 'that of ' .. other or 'free'),
    not other and function() call('HSET', P .. 'locks', job.h, id) end)
end

local CHECKS = {
  pending = check_pending, scheduled = check_timed, retrying = check_timed, waiting = check_waiting,
  active = check_active, succeeded = check_finished, failed = check_finished,
  cancelled = check_finished, expired = check_finished,
}

local TYPES = { ['job:'] = 'hash', ['body:'] = 'string', ['result:'] = 'string', ['errors:'] = 'list', ['more:'] = 'hash' }

local function is_of_type(kind, id)
  local holds = call('TYPE', P .. kind .. id).ok
  if holds == TYPES[kind] or holds == 'none' then return true end
  found('type', P .. kind .. id, 'a ' .. holds .. ' instead of a ' .. TYPES[kind])
end

local function check(id)
  if not is_of_type('job:', id) then return end
  local job = read(id)
  if not next(job) or job.s == 'gone' then return check_traces(id, job) end
  if not CHECKS[job.s] then
    return found('unreadable', id, 'in no state that is known: ' .. (job.s or 'none'),
      function() to_failed(id, job, 'record unreadable') end)
  end
  if IDLE[job.s] and job.damaged then
    return found('unreadable', id, job.s .. ', and one of its numbers is none',
      function() to_failed(id, job, 'record unreadable') end)
  end
  if IDLE[job.s] and not job.w and call('EXISTS', P .. 'body:' .. id) == 0 then
    return found('message', id, job.s .. ', and its message is gone', function()
      leave(id, job)
      finish(id, 'failed', job, 0, 'message lost')
    end)
  end
  if job.r == '' and call('EXISTS', P .. 'result:' .. id) == 0 then
    found('result', id, 'its result is gone', function() call('HDEL', P .. 'job:' .. id, 'r') end)
  end
  CHECKS[job.s](id, job)
  if job.h and (IDLE[job.s] or job.s == 'active') then check_lock(id, job) end
  local ends = IDLE[job.s] and job.e and (call('ZSCORE', P .. 'expiring', id) or 0)
  if ends and math.abs(ends - job.e) > SLACK then
    found('unindexed', id, 'not in expiring at its time', function() call('ZADD', P .. 'expiring', job.e, id) end)
  end
end

for _, id in ipairs(cmsgpack.unpack(ARGV[6])) do check(id) end
-- What has a record is looked at with it.
for _, row in ipairs(cmsgpack.unpack(ARGV[7])) do
  if is_of_type(row[1], row[2]) and call('EXISTS', P .. 'job:' .. row[2]) == 0 then check(row[2]) end
end
flush_gates()
flush()
return { findings, unsure }
