#!lua flags=allow-oom
-- Write down starts and progress, or which delivery its node runs alone.
-- KEYS[1]  meta
-- ARGV[4]  node
-- ARGV[5]  packed notes, fields in the order of base.Note
-- Returns  for each 1, or 0 where the token does not hold the job
-- include: _clock _move
local answers = {}
for i, row in ipairs(cmsgpack.unpack(ARGV[5])) do
  local id, key = row[2], P .. 'job:' .. row[2]
  local job = call('HMGET', key, 's', 'o', 'hs', 'h')
  local held = job[1] == 'active' and job[2] == string.format('+%.0f:', row[3]) .. ARGV[4]
  if held and row[7] then
    call('HSET', key, 'A', row[7])
  elseif held then
    call('HSET', key, 'b', floor(now - row[5] * 1000), 'i', row[4])
    if row[6] then put(id, 'g', row[6]) end
    if job[3] and job[4] then unlock_started(id, job[4]) end
  end
  answers[i] = held and 1 or 0
end
return answers
