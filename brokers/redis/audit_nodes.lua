#!lua flags=allow-oom
-- Check the nodes of a queue: each that holds jobs has a lease, and each lease a node.
-- KEYS[1]  meta
-- ARGV[4]  1: mend what is found
-- ARGV[5]  how many jobs may be taken back
-- ARGV[6…] nodes that have sets here
-- Returns  [findings, nodes of which more is to be taken back]
-- include: _clock _lease _move _gates _take_back _audit
local limit, more, known = tonumber(ARGV[5]), {}, {}
local holders = call('ZRANGE', P .. 'holders', 0, -1, 'WITHSCORES')
for i = 1, #holders, 2 do
  local node, left = holders[i], holders[i + 1] - now
  known[node] = true
  if call('HEXISTS', P .. 'leases', node) == 0 then
    -- Its next beat says how long it really is.
    found('lease', node, 'the length of its lease is gone',
      function() call('HSET', P .. 'leases', node, floor(math.min(math.max(left, 1000), UNKNOWN))) end)
  end
  local length = length_of(node)
  -- After a step of the clock the next beat renews them all.
  if left > length + 1000 and not is_gap(length) then
    found('lease', node, 'its lease ends later than any beat can have said',
      function() call('ZADD', P .. 'holders', now + length, node) end)
  end
end
for _, node in ipairs(call('HKEYS', P .. 'leases')) do
  if not known[node] then
    found('lease', node, 'a length, but no lease', function() call('HDEL', P .. 'leases', node) end)
  end
end
for _, node in ipairs(call('SMEMBERS', P .. 'idle')) do
  if not known[node] then
    found('misplaced', node, 'idle, but it has no lease', function() call('SREM', P .. 'idle', node) end)
  end
end
for _, node in ipairs(call('HKEYS', P .. 'hands')) do
  if not known[node] then
    found('misplaced', node, 'to be given jobs, but it has no lease', function() call('HDEL', P .. 'hands', node) end)
  end
end
for i = 6, #ARGV do
  local node = ARGV[i]
  local active, cancel = P .. 'active:' .. node, P .. 'cancel:' .. node
  if not known[node] and call('EXISTS', active, cancel) > 0 then
    local held = call('HLEN', active) - call('HEXISTS', active, 'last')
    found('lease', node, 'holds ' .. held .. ' jobs without a lease', function()
      limit = limit - take_from(node, math.max(limit, 1), 1)
      if call('EXISTS', active) == 1 then more[#more + 1] = node end
    end)
  end
end
flush_gates()
flush()
return { findings, more }
