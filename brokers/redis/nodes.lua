#!lua flags=no-writes
-- The nodes that beat lately.
-- KEYS[1]  {namespace}:skew
-- KEYS[2]  {namespace}:nodes
-- KEYS[3]  {namespace}:seen
-- Returns  [now in ms, and for each node: ms at which it is forgotten, packed description]
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + (call('GET', KEYS[1]) or 0)
local found = call('ZRANGEBYSCORE', KEYS[3], '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES')
local answer = { now }
for i = 1, #found, 2 do
  answer[#answer + 1] = found[i + 1]
  answer[#answer + 1] = call('HGET', KEYS[2], found[i]) or ''
end
return answer
