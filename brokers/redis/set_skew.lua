#!lua
-- Move the clock of one queue. For tests.
-- KEYS[1]  meta
-- ARGV[4]  ms
-- Returns  1
redis.call('HSET', KEYS[1], 'skew', ARGV[4])
return 1
