#!lua flags=allow-oom
-- What was sent to a node and waits.
-- KEYS[1]  {namespace}:skew
-- KEYS[2]  {namespace}:commands:NODE
-- KEYS[3]  {namespace}:sent:NODE
-- ARGV[1]  ms for which a command is known
-- ARGV[2…] ids of those that wait no longer
-- Returns  id and packed command of each, flat, oldest first
-- include: _moment
for i = 2, #ARGV do call('HDEL', KEYS[2], ARGV[i]) end
local answer = {}
for _, id in ipairs(call('ZRANGEBYSCORE', KEYS[3], '(' .. string.format('%.3f', now - ARGV[1]), '+inf')) do
  local packed = call('HGET', KEYS[2], id)
  if packed then
    answer[#answer + 1] = id
    answer[#answer + 1] = packed
  end
end
return answer
