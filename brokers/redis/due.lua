#!lua flags=no-writes
-- When jobs fall due, and the first gate that opens by the clock.
-- KEYS[1]  meta
-- ARGV[4]  horizon, ms
-- ARGV[5]  how many at most from each of scheduled and retrying
-- Returns  ms from now (text, with a fraction), soonest first within each of the two; the gate's last
-- include: _clock
local waits = {}
for _, set in ipairs({ 'scheduled', 'retrying' }) do
  local found = call('ZRANGEBYSCORE', P .. set, '-inf', now + ARGV[4], 'WITHSCORES', 'LIMIT', 0, ARGV[5])
  for i = 2, #found, 2 do waits[#waits + 1] = string.format('%.3f', found[i] - now) end
end
if meta[4] then
  local gate = call('ZRANGEBYSCORE', P .. 'gates', 0, now + ARGV[4], 'WITHSCORES', 'LIMIT', 0, 1)
  if gate[2] then waits[#waits + 1] = string.format('%.3f', gate[2] - now) end
end
return waits
