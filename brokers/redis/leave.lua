#!lua flags=allow-oom
-- Forget a node that has ended, and take back what it still holds.
-- KEYS[1]  meta
-- ARGV[4]  node
-- ARGV[5]  how many jobs at most
-- Returns  1: there is more to take back; 0: the node is forgotten
-- include: _clock _move _gates _take_back
call('ZADD', P .. 'holders', 0, ARGV[4])
take_from(ARGV[4], tonumber(ARGV[5]), 0)
flush_gates()
flush()
return call('EXISTS', P .. 'active:' .. ARGV[4])
