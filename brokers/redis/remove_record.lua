#!lua flags=allow-oom
-- Keep a record no longer.
-- KEYS[1]  {namespace}:skew
-- KEYS[2]  {namespace}:records:KIND
-- KEYS[3]  {namespace}:ids:KIND
-- KEYS[4]  {namespace}:lapsing:KIND
-- ARGV[1]  id
-- Returns  1
-- include: _moment _records
remove(ARGV[1])
tidy()
return 1
