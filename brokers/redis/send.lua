#!lua flags=allow-oom
-- Keep a command for a node, and ring there.
-- KEYS[1]  {namespace}:skew
-- KEYS[2]  {namespace}:seen
-- KEYS[3]  {namespace}:commands:NODE
-- KEYS[4]  {namespace}:sent:NODE
-- ARGV[1]  node
-- ARGV[2]  the channel of its mailbox
-- ARGV[3]  the command's id
-- ARGV[4]  packed command
-- ARGV[5]  ms for which a command is known
-- ARGV[6]  how many may be known
-- Returns  1: it is kept, now or before; 0: there is no such node; -1: too many are known already
-- include: _moment
local forgotten = call('ZSCORE', KEYS[2], ARGV[1])
if not forgotten or tonumber(forgotten) <= now then return 0 end
for _, id in ipairs(call('ZRANGEBYSCORE', KEYS[4], '-inf', now - ARGV[5])) do
  call('HDEL', KEYS[3], id)
  call('ZREM', KEYS[4], id)
end
if not call('ZSCORE', KEYS[4], ARGV[3]) then
  if call('ZCARD', KEYS[4]) >= tonumber(ARGV[6]) then return -1 end
  call('HSET', KEYS[3], ARGV[3], ARGV[4])
  call('ZADD', KEYS[4], now, ARGV[3])
  call('PEXPIRE', KEYS[3], ARGV[5])
  call('PEXPIRE', KEYS[4], ARGV[5])
end
call('PUBLISH', ARGV[2], '5 ')
return 1
