#!lua flags=allow-oom
-- Compare counters with the indexes that can say at once how many there are; and look at what limits keep.
-- KEYS[1]  meta
-- ARGV[4]  1: mend what is found
-- ARGV[5]  packed map: by how much each index is known to differ from the jobs there are
-- ARGV[6]  packed list of nodes that have sets here and no lease
-- ARGV[7…] keys under which jobs are parked; those under which some are counted come to them, unless
--          there are more than one script may read
-- Returns  findings
-- include: _clock _move _gates _audit
local off, counted, held = cmsgpack.unpack(ARGV[5]), {}, 0

for name, set in pairs({ scheduled = 'scheduled', retrying = 'retrying', failed = 'failed', waiting = 'parking' }) do
  compare(name, call('ZCARD', P .. set) + (off[name] or 0))
end

local function count_held(node)
  if counted[node] then return end
  counted[node] = true
  held = held + call('HLEN', P .. 'active:' .. node) - call('HEXISTS', P .. 'active:' .. node, 'last')
end
for _, node in ipairs(call('ZRANGE', P .. 'holders', 0, -1)) do count_held(node) end
for _, node in ipairs(cmsgpack.unpack(ARGV[6])) do count_held(node) end
compare('active', held + (off.active or 0))

local park_keys = {}
for i = 7, #ARGV do park_keys[ARGV[i]] = true end
if call('HLEN', P .. 'parked') <= 1000 then
  for _, key in ipairs(call('HKEYS', P .. 'parked')) do park_keys[key] = true end
end
for key in pairs(park_keys) do
  local said = call('HGET', P .. 'parked', key) or '0'
  local truth = call('ZCARD', P .. 'parked:' .. key) + (off['parked:' .. key] or 0)
  if sound(said) ~= truth then
    found('counter', 'parked:' .. key, 'says ' .. said .. ', there are ' .. truth, function()
      call('HDEL', KEYS[1], 'off:parked')
      if truth > 0 then
        call('HSET', P .. 'parked', key, truth)
      else
        call('HDEL', P .. 'parked', key)
      end
    end)
  end
end

for key in pairs(park_keys) do
  if is_limit(key) and first_behind(key)[1] and not call('ZSCORE', P .. 'gates', key) then
    found('unindexed', key, 'jobs wait there, and nothing says until when', function() open_gate(key) end)
  end
end
-- What cannot be read holds everything, until somebody sets it anew: no mending knows better.
for _, hash in ipairs({ 'limits', 'keylimits' }) do
  local flat = call('HGETALL', P .. hash)
  for i = 1, #flat, 2 do
    local is_sound, limit = pcall(cmsgpack.unpack, flat[i + 1])
    local is_limit_field = string.find(flat[i], '^[ds]:')
    if is_limit_field and not (is_sound and type(limit) == 'table' and limit[1] == 1 and #limit >= 5) then
      found('unreadable', string.sub(flat[i], 3), 'a limit that cannot be read, and so holds all of its jobs')
    end
  end
end
flush_gates()
return findings
