#!lua flags=allow-oom
-- Take jobs back from dead nodes.
-- KEYS[1]  meta
-- ARGV[4]  how many at most
-- ARGV[5…] nodes that are known to be dead
-- Returns  how many
-- include: _clock _lease _move _gates _take_back
local limit, taken = tonumber(ARGV[4]), 0
for i = 5, #ARGV do
  if call('ZSCORE', HOLDERS, ARGV[i]) or call('EXISTS', P .. 'active:' .. ARGV[i]) == 1 then
    call('ZADD', HOLDERS, 0, ARGV[i])
  end
end
local longest = 0
for _, lease in ipairs(call('HVALS', LEASES)) do longest = math.max(longest, sound(lease) or 0) end
if is_gap(longest) then
  renew_all()
else
  for _, node in ipairs(call('ZRANGEBYSCORE', HOLDERS, '(0', now)) do
    if ms - (sound(meta[3]) or ms) >= length_of(node) then call('ZADD', HOLDERS, 0, node) end
  end
end
-- 0: condemned. A node stays so until all it held has been taken back.
for _, node in ipairs(call('ZRANGEBYSCORE', HOLDERS, 0, 0)) do
  if taken >= limit then break end
  taken = taken + take_from(node, limit - taken, 1)
end
flush_gates()
flush()
return taken
