#!lua flags=allow-oom
-- Keep a record, in the place of one that is there.
-- KEYS[1]  {namespace}:skew
-- KEYS[2]  {namespace}:records:KIND
-- KEYS[3]  {namespace}:ids:KIND
-- KEYS[4]  {namespace}:lapsing:KIND
-- ARGV[1]  id
-- ARGV[2]  value
-- ARGV[3]  ms for which it is kept; nothing: until it is removed
-- ARGV[4]  only where this value is there (nothing: where there is none); not given: in any case
-- Returns  1: it is kept; 0: something else was there
-- include: _moment _records
local found = ARGV[4] and value_of(ARGV[1])
if ARGV[4] and found ~= ARGV[4] then return found == ARGV[2] and 1 or 0 end
call('HSET', KEYS[2], ARGV[1], ARGV[2])
call('ZADD', KEYS[3], 0, ARGV[1])
if ARGV[3] == '' then
  call('ZREM', KEYS[4], ARGV[1])
else
  call('ZADD', KEYS[4], now + ARGV[3], ARGV[1])
end
tidy()
return 1
