-- Unique keys. Needs _move.
local FINISHED = { succeeded = true, failed = true, cancelled = true, expired = true, gone = true }

-- Let a job have its unique key.
local function lock(id, wanted, fields)
  local key, until_started, lasts = wanted[1], wanted[2], wanted[3]
  call('HSET', P .. 'locks', key, id)
  fields[#fields + 1] = 'h'; fields[#fields + 1] = key
  if until_started == 1 then fields[#fields + 1] = 'hs'; fields[#fields + 1] = 1 end
  if lasts then fields[#fields + 1] = 'he'; fields[#fields + 1] = floor(now + lasts) end
end

-- The job that has a unique key, and its id; nil: nobody has it. Whatever became of one that had it,
-- a key never stays taken: it is its job's only while that is there, unfinished, and says so.
local function holder(key)
  local id = call('HGET', P .. 'locks', key)
  local job = id and read(id)
  if not job or not job.s or FINISHED[job.s] or job.h ~= key then return nil end
  local ends = sound(job.he)
  if not ends or ends > now then return id, job end
end

-- Let a job that begins anew have its key again. False: another has it.
local function relock(id, job)
  local ends = sound(job.he)
  if not job.h or ends and ends <= now then return true end
  if holder(job.h) then return false end
  call('HSET', P .. 'locks', job.h, id)
  return true
end
