#!lua flags=allow-oom
-- Cancel jobs: idle ones end here, active ones are marked and their node is told.
-- KEYS[1]  meta
-- ARGV[4…] ids
-- Returns  for each 1 (cancelled, now or before, or marked), 0 (finished otherwise) or -1 (no record)
-- include: _clock _move
local IDLE = { scheduled = true, pending = true, waiting = true, retrying = true }
local answers = {}

local function cancel(id)
  local job = read(id)
  local state = job.s
  if not state or state == 'gone' then return -1 end
  if state == 'cancelled' then return 1 end
  if IDLE[state] then
    leave(id, job)
    finish(id, 'cancelled', job, KEEP)
    return 1
  end
  if state ~= 'active' then return 0 end
  call('HSET', P .. 'job:' .. id, 'u', 1)
  local delivery, node = string.match(job.o or '', '^.(%d+):(.*)$')
  if delivery then
    call('HSET', P .. 'cancel:' .. node, delivery, id)
    call('PUBLISH', BELL .. node, '2 ' .. QUEUE .. ' ' .. id)
  end
  return 1
end

for i = 4, #ARGV do answers[i - 3] = cancel(ARGV[i]) end
flush()
return answers
