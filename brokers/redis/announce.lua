#!lua flags=allow-oom
-- Write a node into the directory of the namespace, and its queues with it. Ring there again while
-- a command waits for it.
-- KEYS[1]  {namespace}:queues
-- KEYS[2]  {namespace}:skew
-- KEYS[3]  {namespace}:nodes
-- KEYS[4]  {namespace}:seen
-- KEYS[5]  {namespace}:commands:NODE
-- ARGV[1]  the channel that every mailbox hears
-- ARGV[2]  node
-- ARGV[3]  packed description
-- ARGV[4]  ms after which it is forgotten
-- ARGV[5…] names of its queues
-- Returns  the skew in ms, or nil where there is none
local call = redis.call
local skew = call('GET', KEYS[2])
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + (skew or 0)
for i = 5, #ARGV do
  if call('SADD', KEYS[1], ARGV[i]) == 1 then call('PUBLISH', ARGV[1], '4 ' .. ARGV[i]) end
end
call('HSET', KEYS[3], ARGV[2], ARGV[3])
call('ZADD', KEYS[4], now + ARGV[4], ARGV[2])
for _, node in ipairs(call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, 10)) do
  call('HDEL', KEYS[3], node)
  call('ZREM', KEYS[4], node)
end
if call('EXISTS', KEYS[5]) == 1 then call('PUBLISH', ARGV[1] .. ':' .. ARGV[2], '5 ') end
return skew
