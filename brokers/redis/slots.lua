#!lua flags=no-writes
-- What is remembered of schedules.
-- KEYS[1]  meta
-- ARGV[4]  how many firings at most of each
-- ARGV[5…] schedules
-- Returns  for each [last slot claimed in ms, 0 for none; revision; packed firings, the newest first]; a
--          firing is [slot (false: by hand), at, kind, job id, state, ended at], false where there is
--          none yet
-- include: _clock
local answers, most = {}, tonumber(ARGV[4])
for i = 5, #ARGV do
  local found = call('HMGET', P .. 'slot:' .. ARGV[i], 't', 'r')
  local answer = { sound(found[1]) or 0, sound(found[2]) or 0 }
  local names = most > 0 and call('LRANGE', P .. 'fired:' .. ARGV[i], 0, most - 1) or {}
  for _, firing in ipairs(names) do
    answer[#answer + 1] = call('HGET', P .. 'firing:' .. ARGV[i], firing) or nil
  end
  answers[#answers + 1] = answer
end
return answers
