#!lua flags=allow-oom
-- Correct a counter that was seen to be wrong, unless somebody else has corrected one meanwhile.
-- KEYS[1]  meta
-- ARGV[4]  how often counters had been corrected when it was seen
-- ARGV[5]  counter
-- ARGV[6]  by how much
-- Returns  1: corrected; 0: somebody else was quicker
-- include: _clock
if (sound(call('HGET', KEYS[1], 'corrected')) or 0) ~= tonumber(ARGV[4]) then return 0 end
bump(KEYS[1], 'corrected', 1)
bump(P .. 'stats', ARGV[5], tonumber(ARGV[6]))
call('HDEL', KEYS[1], 'off:done')
return 1
