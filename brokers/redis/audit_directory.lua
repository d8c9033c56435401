#!lua flags=allow-oom
-- Check the directory of the namespace: every queue is in it, and every node has a time at which it
-- is forgotten. (One of which there is nothing but the time is forgotten at that time.)
-- KEYS[1]  {namespace}:queues
-- KEYS[2]  {namespace}:nodes
-- KEYS[3]  {namespace}:seen
-- ARGV[1]  1: mend what is found
-- ARGV[2]  the channel that every mailbox hears
-- ARGV[3…] queues that have had jobs
-- Returns  rows of [kind, what it concerns, in words, 1 if it was mended]
local call, mend, findings = redis.call, ARGV[1] == '1', {}

local function found(subject, words)
  findings[#findings + 1] = { 'directory', subject, words, mend and 1 or 0 }
end

for i = 3, #ARGV do
  if call('SISMEMBER', KEYS[1], ARGV[i]) == 0 then
    found(ARGV[i], 'a queue that is not in the directory')
    if mend then
      call('SADD', KEYS[1], ARGV[i])
      call('PUBLISH', ARGV[2], '4 ' .. ARGV[i])
    end
  end
end
-- A node writes itself in again with its next beat.
for _, node in ipairs(call('HKEYS', KEYS[2])) do
  if not call('ZSCORE', KEYS[3], node) then
    found(node, 'a node that is never forgotten')
    if mend then call('HDEL', KEYS[2], node) end
  end
end
return findings
