#!lua flags=allow-oom
-- Keep a record no longer.
-- KEYS[1]  {namespace}:skew
-- KEYS[2]  {namespace}:records:KIND
-- KEYS[3]  {namespace}:ids:KIND
-- KEYS[4]  {namespace}:lapsing:KIND
-- ARGV[1]  id
-- ARGV[2]  only where this is its value; not given: in any case
-- Returns  1: there is none now; 0: it has another value
-- include: _moment _records
local found = ARGV[2] and value_of(ARGV[1]) or ''
if found ~= '' and found ~= ARGV[2] then return 0 end
remove(ARGV[1])
tidy()
return 1
