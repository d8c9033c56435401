-- What an audit has found, and the mending of it. Needs _clock and _move.
-- ARGV[4]  1: mend what is found
local MEND = ARGV[4] == '1'
local IDLE = { scheduled = true, pending = true, waiting = true, retrying = true }
local DONE = { succeeded = true, cancelled = true, expired = true }
-- Rows of [kind, what it concerns, in words, 1 if it was mended, 1 or -1, counters]: as long as nobody
-- mends it, there are so many more jobs than the indexes say from which these counters are checked.
local findings = {}

local function found(kind, subject, words, mend, off, counters)
  if MEND and mend then mend() end
  findings[#findings + 1] = { kind, subject, words, MEND and mend and 1 or 0, off or 0, counters or {} }
end

-- A pending job gets a new place, at the head of its priority; an entry that it had is disowned.
local function place_again(id, job)
  local priority = job.p or '5'
  push(heads, id, priority, bump(P .. 'job:' .. id, 'q', 1))
  count('p' .. priority, -1) -- `push` counts, and it was counted
end

-- A counter of `stats` that should be `truth`.
local function compare(name, truth)
  local said = call('HGET', P .. 'stats', name) or '0'
  if sound(said) ~= truth then
    found('counter', name, 'says ' .. said .. ', there are ' .. truth,
      function() call('HSET', P .. 'stats', name, truth) end)
  end
end
