#!lua flags=allow-oom
-- Have jobs that wait for a time fall due at another one.
-- KEYS[1]  meta
-- ARGV[4]  the time in ms, or empty: ARGV[5] says
-- ARGV[5]  ms from now
-- ARGV[6…] ids
-- Returns  for each 1 (it falls due then), 0 (it does not wait for a time) or -1 (no record)
-- include: _clock _move
local due = tonumber(ARGV[4]) or now + ARGV[5]
local moved, answers = { scheduled = {}, retrying = {} }, {}

local function reschedule(id)
  local state = call('HGET', P .. 'job:' .. id, 's')
  if not state or state == 'gone' then return -1 end
  local entries = moved[state]
  if not entries then return 0 end
  if call('ZREM', P .. state, id) == 1 then count(state, -1) end
  call('HSET', P .. 'job:' .. id, 't', floor(due))
  entries[#entries + 1] = due
  entries[#entries + 1] = id
  return 1
end

for i = 6, #ARGV do answers[i - 5] = reschedule(ARGV[i]) end
for set, entries in pairs(moved) do
  if #entries > 0 then schedule(set, entries) end
end
flush()
return answers
