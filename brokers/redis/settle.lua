#!lua flags=allow-oom
-- Record what deliveries came to.
-- KEYS[1]  meta
-- ARGV[4]  node
-- ARGV[5]  packed outcomes, fields in the order of base.Outcome; at most 500
-- Returns  one letter for each: the job's state after it (S succeeded, F failed, R retrying, P
--          pending, C cancelled, E expired, W waiting), or - for fenced
-- include: _clock _move _gates
local node = ARGV[4]
local SUCCEEDED, FAILED, RETRY, RELEASED, CANCELLED, EXPIRED, PARKED = 0, 1, 2, 3, 4, 5, 6
local FAILURE, CRASH, SUSPICION = 1, 2, 3
local ERRORS_KEPT = 20
local freed, done, retrying = {}, {}, {}
local known_retention, known_time

-- What a run leaves in the record besides its times, wherever the job goes.
local function write_down(id, key, row, job)
  if row[9] then
    call('LPUSH', P .. 'errors:' .. id, row[9])
    call('LTRIM', P .. 'errors:' .. id, 0, ERRORS_KEPT - 1)
  end
  if row[12] == FAILURE then bump(key, 'f', 1) end
  if row[12] == CRASH then bump(key, 'x', 1) end
  if row[10] then
    put(id, 'm', row[10])
  elseif job.m then
    call('HDEL', key, 'm')
  end
end

-- A suspect stays one until a run of it has ended in another way than by the death of its process.
local function judge(key, row, job)
  if row[12] == SUSPICION then
    call('HSET', key, 'a', 1)
  elseif job.a and row[5] and row[4] ~= RELEASED and row[12] ~= CRASH then
    call('HDEL', key, 'a')
  end
end

-- Most rows of a batch have the same retention.
local function time_to_go(retention)
  if retention ~= known_retention then
    known_retention, known_time = retention, tostring(now + retention * 1000)
  end
  return known_time
end

-- A success that is not to be kept: as `bury` would leave it, with nothing written that goes at once.
local function vanish(id, key, token, job)
  if job.h then unlock(id, job.h) end
  if job.v then tell(id, job.v, 'succeeded') end
  remove_keys(id)
  call('HSET', key, 's', 'gone', 'z', MS, 'o', 'S' .. token, 'k', job.k or '')
  if job.q then call('HSET', key, 'q', job.q) end
  call('PEXPIRE', key, GRAVE)
  return 'S'
end

local function succeed(id, key, token, row, job, attempts)
  count('processed', 1)
  if row[8] <= 0 then return vanish(id, key, token, job) end
  count('succeeded', 1)
  local began = job.b or row[5] and (row[6] == 0 and MS or to_text(floor(now - row[6] * 1000))) or ''
  local result = row[7]
  if result and (#result > LONGEST or #result == 0) then
    call('SET', P .. 'result:' .. id, result)
    result = ''
  end
  if result then
    call('HSET', key, 's', 'succeeded', 'o', 'S' .. token, 'z', MS, 'b', began, 'n', attempts, 'r', result)
  else
    call('HSET', key, 's', 'succeeded', 'o', 'S' .. token, 'z', MS, 'b', began, 'n', attempts)
  end
  if row[9] or row[10] or row[12] ~= 0 or job.m then write_down(id, key, row, job) end
  if job.h then unlock(id, job.h) end
  if job.v then tell(id, job.v, 'succeeded') end
  done[#done + 1] = time_to_go(row[8])
  done[#done + 1] = id
  return 'S'
end

local function park(id, key, row)
  local park_key = row[13] or ''
  call('HSET', key, 's', 'waiting')
  put(id, 'y', park_key)
  call('ZADD', P .. 'parked:' .. park_key, bump(KEYS[1], 'order', 1), id)
  if bump(P .. 'parked', park_key, 1) == 1 then ring_all('6 ' .. QUEUE .. ' ' .. park_key) end
  call('ZADD', P .. 'parking', now + row[11] * 1000, id)
  count('waiting', 1)
  return 'W'
end

-- Back among the idle jobs.
local function go_on(id, key, kind, row, job)
  if job.e then call('ZADD', P .. 'expiring', job.e, id) end
  if kind == PARKED then return park(id, key, row) end
  if kind == RETRY and row[11] > 0 then
    local due = now + row[11] * 1000
    call('HSET', key, 's', 'retrying', 't', floor(due))
    retrying[#retrying + 1] = due
    retrying[#retrying + 1] = id
    return 'R'
  end
  call('HSET', key, 's', 'pending')
  push(heads, id, job.p or '5', job.q)
  return 'P'
end

local function stop(id, kind, row, job)
  if kind == FAILED then
    count('failures', 1)
    finish(id, 'failed', job, 0)
    return 'F'
  end
  finish(id, kind == EXPIRED and 'expired' or 'cancelled', job, row[8] * 1000)
  return kind == EXPIRED and 'E' or 'C'
end

-- The token of the last delivery, not settled yet: what becomes of the job, as a letter.
local function settle(id, key, token, row, job)
  local kind = job.u and CANCELLED or row[4]
  local attempts = row[5] and (job.n and job.n + 1 or '1') or job.n or '0'
  judge(key, row, job)
  if job.hs and row[5] then
    unlock_started(id, job.h)
    job.h = nil
  end
  if kind ~= SUCCEEDED then
    write_down(id, key, row, job)
    if row[5] then call('HSET', key, 'n', attempts, 'b', job.b or to_text(floor(now - row[6] * 1000))) end
  end
  if job.s == 'active' then
    count('active', -1)
    release(id, job)
  elseif kind == RELEASED or kind == RETRY and row[11] <= 0 then
    return 'P' -- it was taken back, and waits where it should
  else
    leave(id, job)
  end
  if kind == SUCCEEDED then return succeed(id, key, token, row, job, attempts) end
  if kind == RETRY or kind == RELEASED or kind == PARKED then return go_on(id, key, kind, row, job) end
  return stop(id, kind, row, job)
end

local function answer(row)
  local id, delivery = row[2], to_text(row[3])
  local key, token, job = P .. 'job:' .. id, delivery .. ':' .. node, read(id)
  local owner = job.o
  if not owner or string.sub(owner, 2) ~= token then
    -- Where the record has lost its token the set still says that the node holds the job.
    if call('HGET', P .. 'active:' .. node, delivery) == id then freed[#freed + 1] = delivery end
    return '-'
  end
  local mark = string.sub(owner, 1, 1)
  if mark ~= '+' then -- settled before
    return is_gone(job.s, job.z) and '-' or mark
  end
  if job.s ~= 'active' and job.s ~= 'pending' then return '-' end
  freed[#freed + 1] = delivery
  if job.u then call('HDEL', P .. 'cancel:' .. node, delivery) end
  local letter = settle(id, key, token, row, job)
  if letter ~= 'S' then call('HSET', key, 'o', letter .. token) end
  return letter
end

local answers = {}
for i, row in ipairs(cmsgpack.unpack(ARGV[5])) do answers[i] = answer(row) end
if #freed > 0 then call('HDEL', P .. 'active:' .. node, unpack(freed)) end
if #done > 0 then call('ZADD', P .. 'done', unpack(done)) end
if #retrying > 0 then schedule('retrying', retrying) end
if gates_moved then flush_gates() end
-- The place of the whole queue may be what ready jobs wait for.
if FLOW and #freed > 0 and call('HEXISTS', P .. 'limits', 's:queue') == 1 then ring_ready() end
flush()
return table.concat(answers)
