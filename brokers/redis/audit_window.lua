#!lua flags=no-writes
-- Count a part of `done` by the states of its jobs.
-- KEYS[1]  meta
-- ARGV[4]  the time to begin with, as ZRANGEBYSCORE has it
-- ARGV[5]  the time to end with, as ZRANGEBYSCORE has it
-- ARGV[6]  how many entries at most
-- Returns  [the time to go on with (nothing: there is no more), succeeded, cancelled, expired, the
--          digest of what was counted, what the three counters say, how many are in `done`, how
--          often counters were corrected]
-- include: _clock
local most = tonumber(ARGV[6])
local found = call('ZRANGEBYSCORE', P .. 'done', ARGV[4], ARGV[5], 'WITHSCORES', 'LIMIT', 0, most + 1)
local last, following = #found, ''
if #found / 2 > most then
  -- Those of one moment stay together, unless there are more of them than may be read.
  following = found[#found]
  while last > 0 and found[last] == following do last = last - 2 end
  if last == 0 then last, following = #found, '(' .. following end
end
local counts, seen = { succeeded = 0, cancelled = 0, expired = 0 }, {}
for i = 1, last, 2 do
  local state = call('HGET', P .. 'job:' .. found[i], 's') or ''
  if counts[state] then counts[state] = counts[state] + 1 end
  seen[#seen + 1] = found[i] .. ' ' .. state
end
local said = call('HMGET', P .. 'stats', 'succeeded', 'cancelled', 'expired')
return {
  following, counts.succeeded, counts.cancelled, counts.expired,
  redis.sha1hex(table.concat(seen, '\n')),
  sound(said[1]) or 0, sound(said[2]) or 0, sound(said[3]) or 0,
  call('ZCARD', P .. 'done'), sound(call('HGET', KEYS[1], 'corrected')) or 0,
}
