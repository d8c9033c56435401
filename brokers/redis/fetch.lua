#!lua flags=allow-oom
-- Deliver ready jobs to a node, the most urgent first.
-- KEYS[1]  meta
-- ARGV[4]  node
-- ARGV[5]  number of the first delivery
-- ARGV[6]  how many jobs at most; 0: only step off the list of idle nodes
-- ARGV[7…] keys under which parked jobs are taken too, before the ready ones
-- Returns  -1: the queue does not know the node; else [jobs still ready, and for each delivery
--          id, number, wire, more], where `more` is nil for a job that has nothing but defaults, or
--          [attempts, failures, crashes, losses, expires in ms, deadline in ms, 1 for a suspect],
--          nil where none
-- include: _clock _move _limits
local node, first, limit = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local LOOKS = limit + 5000 -- entries looked at in one call; left-overs of jobs that have gone count too
local ACTIVE = P .. 'active:' .. node
local reply, taken, looked = { 0 }, {}, 0

local score = call('ZSCORE', P .. 'holders', node)
if not score or tonumber(score) == 0 then return -1 end

local ready = call('HMGET', P .. 'stats', 'p9', 'p8', 'p7', 'p6', 'p5', 'p4', 'p3', 'p2', 'p1', 'p0')
local left = 0
for i = 1, 10 do
  ready[i] = sound(ready[i]) or 0
  left = left + ready[i]
end

local function answer(id, job, number)
  local more = false
  if job.e or job.d or job.n or job.f or job.x or job.l or job.a then
    more = { job.n or false, job.f or false, job.x or false, job.l or false,
      job.e and job.e - ms or false, job.d and job.d - ms or false, job.a or false }
  end
  local at = #reply
  reply[at + 1] = id
  reply[at + 2] = tonumber(number)
  reply[at + 3] = not job.damaged and (job.w or call('GET', P .. 'body:' .. id)) or ''
  reply[at + 4] = more
end

local function deliver(id, job)
  local number = to_text(first + #taken / 2)
  call('HSET', P .. 'job:' .. id, 's', 'active', 'o', '+' .. number .. ':' .. node)
  if job.e then call('ZREM', P .. 'expiring', id) end
  if job.o then call('HDEL', P .. 'job:' .. id, 'b', 'i', 'g', 'A') end -- of an earlier delivery
  taken[#taken + 1] = number
  taken[#taken + 1] = id
  answer(id, job, number)
end

-- A job that is too late. True: it has been settled.
local function settle_late(id, job)
  local state, reason
  if job.e and tonumber(job.e) <= now then
    state = 'expired'
  elseif job.d and tonumber(job.d) <= now then
    state, reason = 'failed', 'deadline'
  else
    return false
  end
  if job.e then call('ZREM', P .. 'expiring', id) end
  finish(id, state, job, KEEP, reason)
  return true
end

-- One entry of a ready list; it counts only if the job says that it is its own.
local function take(entry, priority)
  local id, generation = entry, nil
  local mark = string.find(entry, '\0', 1, true)
  if mark then id, generation = string.sub(entry, 1, mark - 1), string.sub(entry, mark + 1) end
  local job = read(id)
  if job.s ~= 'pending' or (job.p or '5') ~= priority or job.q ~= generation then return end
  if admit(id) then
    count('p' .. priority, -1)
    left = left - 1
    if not settle_late(id, job) then deliver(id, job) end
  end
end

-- Counters may have been lost: are there ready lists all the same?
local function is_more()
  local lists = {}
  for i = 0, 9 do lists[i + 1] = P .. 'ready:' .. i end
  return call('EXISTS', unpack(lists)) > 0
end

local function wants_more()
  return #taken / 2 < limit and looked < LOOKS
end

local function drain(priority)
  while wants_more() do
    local most = math.min(limit - #taken / 2, SLICE)
    local entries = call('LPOP', P .. 'ready:' .. priority, most)
    if not entries then return end
    looked = looked + #entries
    for _, entry in ipairs(entries) do take(entry, priority) end
    if #entries < most then return end -- the list is empty
  end
end

local function take_parked(key)
  for _, id in ipairs(call('ZRANGE', P .. 'parked:' .. key, 0, limit - #taken / 2 - 1)) do
    local job = read(id)
    if job.s ~= 'waiting' then
      forget_parked(id, key) -- left by a hand that went around the scripts
    elseif admit(id) then
      unpark(id, key)
      if not settle_late(id, job) then deliver(id, job) end
    end
  end
end

-- The answer to this call was lost: give it again.
local function repeat_answer()
  for from = 0, limit - 1, SLICE do
    local numbers = {}
    for i = from, math.min(from + SLICE, limit) - 1 do numbers[#numbers + 1] = string.format('%.0f', first + i) end
    for i, id in ipairs(call('HMGET', ACTIVE, unpack(numbers))) do
      local job = id and read(id)
      if job and job.s == 'active' and job.o == '+' .. numbers[i] .. ':' .. node then
        answer(id, job, numbers[i])
      end
    end
  end
end

local last = limit > 0 and call('HGET', ACTIVE, 'last')
if last and first <= (sound(last) or 0) then
  repeat_answer()
elseif limit > 0 then
  for i = 7, #ARGV do
    if #taken / 2 < limit then take_parked(ARGV[i]) end
  end
  for i = 1, 10 do
    if ready[i] > 0 then drain(tostring(10 - i)) end
  end
  if #taken == 0 and wants_more() and is_more() then
    for i = 1, 10 do drain(tostring(10 - i)) end
  end
  if wants_more() then left = 0 end -- there is nothing, whatever they say
  for i = 1, #taken, SLICE do
    local upto = math.min(i + SLICE - 1, #taken)
    call('HSET', ACTIVE, 'last', taken[upto - 1], unpack(taken, i, upto))
  end
  if #taken > 0 then count('active', #taken / 2) end
  flush()
end

if #reply - 1 < 4 * limit and left <= 0 then
  call('SADD', P .. 'idle', node)
else
  call('SREM', P .. 'idle', node)
  if left > 0 then ring_ready() end
  -- Stopped among left-overs: come again.
  if looked >= LOOKS and limit > 0 then call('PUBLISH', BELL .. node, '0 ' .. QUEUE) end
end
reply[1] = left
return reply
