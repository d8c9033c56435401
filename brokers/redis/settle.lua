#!lua flags=allow-oom
-- Record what deliveries came to.
-- KEYS[1]  meta
-- ARGV[4]  node
-- ARGV[5]  packed outcomes, fields in the order of base.Outcome; at most 500
-- Returns  one letter for each: the job's state after it (S succeeded, F failed, R retrying, P
--          pending, C cancelled, E expired, W waiting), or - for fenced
-- include: _clock _move _limits
local node = ARGV[4]
local SUCCEEDED, FAILED, RETRY, RELEASED, CANCELLED, EXPIRED, PARKED = 0, 1, 2, 3, 4, 5, 6
local ERRORS_KEPT = 20
local freed, done, retrying = {}, {}, {}

local function succeed(id, key, token, row, job, attempts)
  count('processed', 1)
  if job[4] then tell(id, job[4]) end
  if job[10] then call('HDEL', key, 'm') end
  local began = job[9] or row[5] and floor(now - row[6] * 1000) or ''
  local result = row[7] or false
  if result and #result > LONGEST then
    call('SET', P .. 'result:' .. id, result)
    result = ''
  end
  if result then
    call('HSET', key, 's', 'succeeded', 'o', 'S' .. token, 'z', ms, 'n', attempts, 'b', began, 'r', result)
  else
    call('HSET', key, 's', 'succeeded', 'o', 'S' .. token, 'z', ms, 'n', attempts, 'b', began)
  end
  count('succeeded', 1)
  if row[8] <= 0 then
    bury(id, 'succeeded')
  else
    done[#done + 1] = now + row[8] * 1000
    done[#done + 1] = id
  end
  return 'S'
end

-- What the run leaves in the record, wherever the job goes.
local function write_down(id, key, row, job, attempts)
  if attempts > 0 then call('HSET', key, 'n', attempts) end
  if row[5] and not job[9] then call('HSET', key, 'b', floor(now - row[6] * 1000)) end
  if row[9] then
    call('LPUSH', P .. 'errors:' .. id, row[9])
    call('LTRIM', P .. 'errors:' .. id, 0, ERRORS_KEPT - 1)
  end
  if row[12] == 1 then call('HINCRBY', key, 'f', 1) end
  if row[12] == 2 then call('HINCRBY', key, 'x', 1) end
  if row[10] then
    put(id, 'm', row[10])
  elseif job[10] then
    call('HDEL', key, 'm')
  end
end

local function park(id, key, row)
  local park_key = row[13] or ''
  call('HSET', key, 's', 'waiting')
  put(id, 'y', park_key)
  call('ZADD', P .. 'parked:' .. park_key, call('HINCRBY', KEYS[1], 'order', 1), id)
  call('HINCRBY', P .. 'parked', park_key, 1)
  call('ZADD', P .. 'parking', now + row[11] * 1000, id)
  count('waiting', 1)
  return 'W'
end

-- Back among the idle jobs.
local function go_on(id, key, kind, row, job)
  if job[8] then call('ZADD', P .. 'expiring', job[8], id) end
  if kind == PARKED then return park(id, key, row) end
  if kind == RETRY and row[11] > 0 then
    local due = now + row[11] * 1000
    call('HSET', key, 's', 'retrying', 't', floor(due))
    retrying[#retrying + 1] = due
    retrying[#retrying + 1] = id
    return 'R'
  end
  call('HSET', key, 's', 'pending')
  push(heads, id, job[6] or '5', job[7])
  return 'P'
end

local function stop(id, kind, row, job)
  if kind == FAILED then
    count('failures', 1)
    finish(id, 'failed', job[4], 0)
    return 'F'
  end
  finish(id, kind == EXPIRED and 'expired' or 'cancelled', job[4], row[8] * 1000)
  return kind == EXPIRED and 'E' or 'C'
end

-- The job leaves its node. One that had been taken back leaves an entry in a ready list behind.
local function withdraw(id, key, job)
  if job[1] == 'active' then
    count('active', -1)
  else
    leave(id, 'pending', job[6], job[8])
    job[7] = call('HGET', key, 'q')
  end
end

-- The token of the last delivery, not settled yet: what becomes of the job, as a letter.
local function settle(id, key, token, row, job)
  local kind = job[3] and CANCELLED or row[4]
  local attempts = (job[5] or 0) + (row[5] and 1 or 0)
  if kind ~= SUCCEEDED then write_down(id, key, row, job, attempts) end
  if job[1] == 'pending' and (kind == RELEASED or kind == RETRY and row[11] <= 0) then
    return 'P' -- it was taken back, and waits where it should
  end
  withdraw(id, key, job)
  if kind == SUCCEEDED then return succeed(id, key, token, row, job, attempts) end
  if kind == RETRY or kind == RELEASED or kind == PARKED then return go_on(id, key, kind, row, job) end
  return stop(id, kind, row, job)
end

local function answer(row)
  local id, number = row[2], string.format('%.0f', row[3])
  local key, token = P .. 'job:' .. id, number .. ':' .. node
  local job = call('HMGET', key, 's', 'o', 'u', 'v', 'n', 'p', 'q', 'e', 'b', 'm')
  local owner = job[2]
  if not owner or string.sub(owner, 2) ~= token then return '-' end
  local mark = string.sub(owner, 1, 1)
  if mark ~= '+' then -- settled before
    return job[1] == 'gone' and is_gone('gone', call('HGET', key, 'z')) and '-' or mark
  end
  if job[1] ~= 'active' and job[1] ~= 'pending' then return '-' end
  freed[#freed + 1] = number
  if job[3] then call('HDEL', P .. 'cancel:' .. node, number) end
  local letter = settle(id, key, token, row, job)
  if letter ~= 'S' then call('HSET', key, 'o', letter .. token) end
  release(id)
  return letter
end

local answers = {}
for i, row in ipairs(cmsgpack.unpack(ARGV[5])) do answers[i] = answer(row) end
if #freed > 0 then call('HDEL', P .. 'active:' .. node, unpack(freed)) end
if #done > 0 then call('ZADD', P .. 'done', unpack(done)) end
if #retrying > 0 then schedule('retrying', retrying) end
flush()
return table.concat(answers)
