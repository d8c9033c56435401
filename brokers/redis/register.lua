#!lua
-- Write queues into the directory of the namespace.
-- KEYS[1]  {namespace}:queues
-- KEYS[2]  {namespace}:skew
-- ARGV[1]  the channel that every mailbox hears
-- ARGV[2…] names of queues
-- Returns  the skew in ms, or nil where there is none
for i = 2, #ARGV do
  if redis.call('SADD', KEYS[1], ARGV[i]) == 1 then
    redis.call('PUBLISH', ARGV[1], '4 ' .. ARGV[i])
  end
end
return redis.call('GET', KEYS[2])
