#!lua flags=allow-oom
-- Make parked jobs pending, oldest first.
-- KEYS[1]  meta
-- ARGV[4]  how many at most
-- ARGV[5…] the keys they are parked under
-- Returns  how many
-- include: _clock _move
local limit, moved = tonumber(ARGV[4]), 0
for i = 5, #ARGV do
  for _, id in ipairs(call('ZRANGE', P .. 'parked:' .. ARGV[i], 0, limit - moved - 1)) do
    local job = call('HMGET', P .. 'job:' .. id, 'p', 'q', 'y')
    unpark(id, job[3] or ARGV[i])
    call('HSET', P .. 'job:' .. id, 's', 'pending')
    push(tails, id, job[1] or '5', job[2])
    moved = moved + 1
  end
  if moved >= limit then break end
end
flush()
return moved
