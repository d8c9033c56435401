#!lua flags=allow-oom
-- Ring in a mailbox when jobs finish.
-- KEYS[1]  meta
-- ARGV[4]  mailbox
-- ARGV[5…] ids
-- Returns  for each 1 (it is finished, or there is no record) or 0 (it will ring)
-- include: _clock _move
local FINISHED = { succeeded = true, failed = true, cancelled = true, expired = true, gone = true }
local name, answers = ARGV[4], {}
for i = 5, #ARGV do
  local id = ARGV[i]
  local job = call('HMGET', P .. 'job:' .. id, 's', 'v')
  local over = not job[1] or FINISHED[job[1]]
  if not over then
    local watchers = job[2] and ' ' .. long(id, 'v', job[2]) .. ' ' or ' '
    if not string.find(watchers, ' ' .. name .. ' ', 1, true) then
      put(id, 'v', string.sub(watchers .. name, 2))
    end
  end
  answers[i - 4] = over and 1 or 0
end
return answers
