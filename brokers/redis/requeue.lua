#!lua flags=allow-oom
-- Make jobs ready because an operator says so: those that failed, were cancelled or have expired begin
-- anew, those that wait for a time fall due.
-- KEYS[1]  meta
-- ARGV[4]  only jobs in this state; empty: in any
-- ARGV[5…] ids
-- Returns  for each 1 (it is pending), 0 (not possible from its state, or another job has its unique
--          key by now) or -1 (no record)
-- include: _clock _move _lock
local AGAIN = { failed = true, cancelled = true, expired = true }
local answers = {}

-- Attempts and errors stay, and the token where it was settled: its settle may still be repeated.
local function forget_how_it_went(id, job)
  local key, more = P .. 'job:' .. id, P .. 'more:' .. id
  call('HDEL', key, 'm', 'z', 'f', 'x', 'l', 'a', 'A', 'u', 'b', 'i', 'g', 'r')
  call('HDEL', more, 'm', 'g')
  call('UNLINK', P .. 'result:' .. id)
  if job.e and tonumber(job.e) <= ms then
    call('HDEL', key, 'e')
    job.e = nil
  end
  if job.d and tonumber(job.d) <= ms then call('HDEL', key, 'd') end
  if string.sub(job.o or '', 1, 1) == '+' then call('HDEL', key, 'o') end
end

local function requeue(id)
  local job = read(id)
  local state = job.s
  if not state or state == 'gone' then return -1 end
  if ARGV[4] ~= '' and state ~= ARGV[4] then return 0 end
  if state == 'pending' then return 1 end
  if AGAIN[state] then
    if not relock(id, job) then return 0 end
    call('ZREM', P .. (state == 'failed' and 'failed' or 'done'), id)
    count(state, -1)
    forget_how_it_went(id, job)
  elseif state == 'scheduled' or state == 'retrying' then
    leave(id, job)
  else
    return 0
  end
  call('HSET', P .. 'job:' .. id, 's', 'pending', 't', MS)
  if job.e then call('ZADD', P .. 'expiring', job.e, id) end
  push(tails, id, level(job.p), job.q)
  return 1
end

for i = 5, #ARGV do answers[i - 4] = requeue(ARGV[i]) end
flush()
return answers
