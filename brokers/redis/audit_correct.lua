#!lua flags=allow-oom
-- Correct counters that were seen to be wrong, unless somebody else has corrected one meanwhile.
-- KEYS[1]  meta
-- ARGV[4]  how often counters had been corrected when that was seen
-- ARGV[5]  packed rows of [counter, by how much]
-- Returns  1: corrected; 0: somebody else was quicker
-- include: _clock
if (sound(call('HGET', KEYS[1], 'corrected')) or 0) ~= tonumber(ARGV[4]) then return 0 end
bump(KEYS[1], 'corrected', 1)
for _, row in ipairs(cmsgpack.unpack(ARGV[5])) do bump(P .. 'stats', row[1], row[2]) end
call('HDEL', KEYS[1], 'off:done')
return 1
