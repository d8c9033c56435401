#!lua flags=allow-oom
-- Give a node a lease in this queue.
-- KEYS[1]  meta
-- ARGV[4]  node
-- ARGV[5]  lease, ms
-- Returns  1
-- include: _clock _lease
hear(ARGV[4], tonumber(ARGV[5]))
return 1
