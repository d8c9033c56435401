-- What moves jobs between states: counters, ready lists, bells.
local LONGEST = 64 -- a longer value in a hash costs the hash its compact encoding
local SLICE = 500 -- unpack fails near 8,000
local GRAVE = 60000 -- ms after its end for which calls about a job can be repeated
local KEEP = tonumber(ARGV[3])
local counts, heads, tails = {}, {}, {}
local is_silent = false -- nobody is idle

-- A whole number, 0 or more, as text. Those of a batch differ in their last digits: the rest is shared.
local stems = {}
local function to_text(number)
  local last = number % 100
  local stem = (number - last) / 100
  if stem == 0 then return string.format('%.0f', number) end
  local text = stems[stem]
  if not text then
    text = string.format('%.0f', stem)
    stems[stem] = text
  end
  return text .. string.char(48 + floor(last / 10), 48 + last % 10)
end

local function count(name, by)
  counts[name] = (counts[name] or 0) + by
end

-- A record's priority, as it counts.
local function level(priority)
  return priority and string.match(priority, '^%d$') or '5'
end

local NUMBERS = { 'e', 'd', 'n', 'f', 'x', 'l', 'z' }

-- What cannot be right counts as absent, and the job as damaged.
local function mend(job)
  for _, name in ipairs(NUMBERS) do
    if job[name] and not sound(job[name]) then job[name], job.damaged = nil, true end
  end
  if job.p and level(job.p) ~= job.p then job.p, job.damaged = nil, true end
end

-- A job's short record by the names of its fields; empty where there is none.
local function read(id)
  local job, flat = {}, call('HGETALL', P .. 'job:' .. id)
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  if job.p or job.e or job.d or job.n or job.f or job.x or job.l or job.z then mend(job) end
  return job
end

-- A value of any length: a long one goes to `more:ID`, and an empty one stands for it.
local function put(id, field, value)
  if #value > LONGEST then
    call('HSET', P .. 'more:' .. id, field, value)
    value = ''
  end
  call('HSET', P .. 'job:' .. id, field, value)
end

local function long(id, field, value)
  if value == '' then return call('HGET', P .. 'more:' .. id, field) or '' end
  return value
end

-- Counters may have been lost: are there ready lists?
local function has_ready()
  local lists = {}
  for i = 0, 9 do lists[i + 1] = P .. 'ready:' .. i end
  return call('EXISTS', unpack(lists)) > 0
end

-- Wake one idle node. A name that nobody listens to any more is not the one. In a cluster PUBLISH
-- reaches every server and counts only who listens at this one: there a node counts while its lease
-- runs.
local function ring_ready()
  for _ = 1, 5 do
    local node = call('SPOP', P .. 'idle')
    if not node then return end
    local heard = call('PUBLISH', BELL .. node, '0 ' .. QUEUE) > 0
    if heard or CLUSTERED and tonumber(call('ZSCORE', P .. 'holders', node) or 0) >= now then return end
  end
end

-- Tell every node of the queue.
local function ring_all(bell)
  for _, node in ipairs(call('ZRANGEBYSCORE', P .. 'holders', '(0', '+inf')) do
    call('PUBLISH', BELL .. node, bell)
  end
end

local function first_due(set)
  return tonumber(call('ZRANGE', P .. set, 0, 0, 'WITHSCORES')[2] or math.huge)
end

-- Add jobs, [time, id, time, id, …], to `scheduled` or `retrying`; if one of them is the soonest of
-- all, every node hears of it. What falls due in the same moment keeps its order: each gets a
-- little more, a quarter of a millisecond at most.
local function schedule(set, entries)
  local before, soonest = math.min(first_due('scheduled'), first_due('retrying')), math.huge
  local order = bump(KEYS[1], 'order', #entries / 2)
  for i = 1, #entries, 2 do
    soonest = math.min(soonest, entries[i])
    entries[i] = entries[i] + (order - #entries / 2 + (i + 1) / 2) % 1024 / 4096
  end
  for i = 1, #entries, SLICE do
    call('ZADD', P .. set, unpack(entries, i, math.min(i + SLICE - 1, #entries)))
  end
  count(set, #entries / 2)
  if soonest >= before then return end
  ring_all('1 ' .. QUEUE)
end

-- Put a job in `heads` or `tails`; `flush` moves them to the ready lists. A generation marks the
-- entry of a job that left a ready list without being taken from it: its old entry is no longer
-- its own.
local function push(lists, id, priority, generation)
  local list = lists[priority]
  if not list then
    list = {}
    lists[priority] = list
  end
  list[#list + 1] = generation and id .. '\0' .. generation or id
end

local function push_all(command, priority, list)
  for i = 1, #list, SLICE do
    call(command, P .. 'ready:' .. priority, unpack(list, i, math.min(i + SLICE - 1, #list)))
  end
  count('p' .. priority, #list)
end

local function flush()
  for priority, list in pairs(tails) do push_all('RPUSH', priority, list) end
  for priority, list in pairs(heads) do
    local last = #list -- pushed from the last, the first ends up at the head
    for i = 1, floor(last / 2) do list[i], list[last + 1 - i] = list[last + 1 - i], list[i] end
    push_all('LPUSH', priority, list)
  end
  for name, by in pairs(counts) do
    if by ~= 0 then bump(P .. 'stats', name, by) end
  end
  if not is_silent and (next(tails) or next(heads)) then ring_ready() end
end

local function forget_parked(id, key)
  call('ZREM', P .. 'parked:' .. key, id)
  if bump(P .. 'parked', key, -1) <= 0 then
    call('HDEL', P .. 'parked', key)
    if string.sub(key, 1, 6) == 'limit:' then call('ZREM', P .. 'gates', key) end
  end
end

-- Take a job out of `parked:KEY`.
local function unpark(id, key)
  forget_parked(id, long(id, 'y', key))
  call('ZREM', P .. 'parking', id)
  call('HDEL', P .. 'job:' .. id, 'y')
  count('waiting', -1)
end

-- Take an idle job out of the index that owns it. Its entry in a ready list stays, disowned.
local function leave(id, job)
  if job.s == 'pending' then
    count('p' .. (job.p or '5'), -1)
    job.q = bump(P .. 'job:' .. id, 'q', 1)
  elseif job.s == 'waiting' then
    unpark(id, job.y or '')
  else
    call('ZREM', P .. job.s, id)
    count(job.s, -1)
  end
  if job.e then call('ZREM', P .. 'expiring', id) end
end

-- Write down how the job of a schedule's firing ended. The mark, made by tick.lua, is an @, the
-- length of the firing's name, a colon, that name and the schedule's.
local function conclude(mark, state)
  local length, names = string.match(mark, '^@(%d+):(.*)$')
  if not length then return end
  local key, firing = P .. 'firing:' .. string.sub(names, length + 1), string.sub(names, 1, length)
  local packed = call('HGET', key, firing)
  local is_sound, entry = pcall(cmsgpack.unpack, packed or '')
  if is_sound and type(entry) == 'table' then
    entry[5], entry[6] = state, ms
    call('HSET', key, firing, cmsgpack.pack(entry))
  end
end

-- Tell those who watch the job that it is finished.
local function tell(id, watchers, state)
  for name in string.gmatch(long(id, 'v', watchers), '%S+') do
    if string.sub(name, 1, 1) == '@' then
      conclude(name, state)
    else
      call('PUBLISH', BELL .. name, '3 ' .. QUEUE .. ' ' .. id)
    end
  end
end

-- Give back the unique key that a job has, where no other has it by now.
local function unlock(id, key)
  if call('HGET', P .. 'locks', key) == id then call('HDEL', P .. 'locks', key) end
end

-- A job that is unique until it starts has begun to run.
local function unlock_started(id, key)
  unlock(id, key)
  call('HDEL', P .. 'job:' .. id, 'h', 'hs', 'he')
end

-- Write a final state, for a job that is in no index any more.
local function finish(id, state, job, keep, reason)
  if state == 'failed' then
    call('ZADD', P .. 'failed', now, id)
  else
    call('ZADD', P .. 'done', now + keep, id)
  end
  call('HSET', P .. 'job:' .. id, 's', state, 'z', MS)
  if reason then put(id, 'm', reason) end
  count(state, 1)
  if job.h then unlock(id, job.h) end
  if job.v then tell(id, job.v, state) end
end

local function remove_keys(id)
  call('UNLINK', P .. 'job:' .. id, P .. 'body:' .. id, P .. 'result:' .. id,
    P .. 'errors:' .. id, P .. 'more:' .. id)
end

-- Remove a finished record (or a tombstone) and everything that goes with it.
local function remove(id, state)
  if state ~= 'gone' then
    call('ZREM', P .. (state == 'failed' and 'failed' or 'done'), id)
    count(state, -1)
  end
  remove_keys(id)
end

-- A tombstone answers for its job as long as calls about it can be repeated, by the skewed clock.
local function is_gone(state, finished)
  return not state or state == 'gone' and ms >= (sound(finished) or 0) + GRAVE
end

-- Remove a finished record; what is needed to repeat the calls about it stays a while longer.
local function bury(id, state)
  local key = P .. 'job:' .. id
  local job = call('HMGET', key, 'z', 'o', 'k', 'q')
  remove(id, state)
  local finished = sound(job[1]) or ms
  local left = finished + GRAVE - ms
  if left <= 0 then return end
  call('HSET', key, 's', 'gone', 'z', finished, 'o', job[2] or '', 'k', job[3] or '')
  if job[4] then call('HSET', key, 'q', job[4]) end
  call('PEXPIRE', key, left)
end
