#!lua flags=allow-oom
-- Renew a node's lease in this queue.
-- KEYS[1]  meta
-- ARGV[4]  node
-- ARGV[5]  lease, ms
-- Returns  -1: the queue does not know the node; else [1 if the queue ever had a job, and of the
--          jobs the node holds that are marked for cancelling (about 1,000 at most): number, id]
-- include: _clock _lease
local score = call('ZSCORE', HOLDERS, ARGV[4])
if not score or tonumber(score) == 0 then return -1 end
hear(ARGV[4], tonumber(ARGV[5]))
local answer = call('HSCAN', P .. 'cancel:' .. ARGV[4], 0, 'COUNT', 1000)[2]
table.insert(answer, 1, call('EXISTS', P .. 'stats'))
return answer
