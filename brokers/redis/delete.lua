#!lua flags=allow-oom
-- Remove finished and idle jobs and everything that is kept of them.
-- KEYS[1]  meta
-- ARGV[4]  only jobs in this state; empty: in any
-- ARGV[5…] ids
-- Returns  for each 1 (removed), 0 (active, or in another state) or -1 (no record)
-- include: _clock _move
local IDLE = { scheduled = true, pending = true, waiting = true, retrying = true }
local answers = {}

local function delete(id)
  local job = read(id)
  local state = job.s
  if not state or state == 'gone' then return -1 end
  if state == 'active' or ARGV[4] ~= '' and state ~= ARGV[4] then return 0 end
  if IDLE[state] then -- it ends by this, so that whoever waits for it is told
    leave(id, job)
    state = 'cancelled'
    finish(id, state, job, KEEP)
  end
  bury(id, state)
  return 1
end

for i = 5, #ARGV do answers[i - 4] = delete(ARGV[i]) end
flush()
return answers
