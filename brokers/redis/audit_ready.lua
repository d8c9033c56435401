#!lua flags=allow-oom
-- Check a whole ready list: no entry counts twice, and the counter is right.
-- KEYS[1]  meta
-- ARGV[4]  1: mend what is found
-- ARGV[5]  priority
-- ARGV[6]  how many entries may be read
-- ARGV[7]  how many pending jobs are known to have no entry
-- Returns  [1: it was checked, 0: it is too long, findings]
-- include: _clock _move _audit
local priority, list = ARGV[5], P .. 'ready:' .. ARGV[5]
if call('LLEN', list) > tonumber(ARGV[6]) then return { 0, findings } end

local owned, seen = 0, {}
for _, entry in ipairs(call('LRANGE', list, 0, -1)) do
  local id, generation = entry, false
  local mark = string.find(entry, '\0', 1, true)
  if mark then id, generation = string.sub(entry, 1, mark - 1), string.sub(entry, mark + 1) end
  local job = call('HMGET', P .. 'job:' .. id, 's', 'p', 'q')
  if job[1] == 'pending' and level(job[2]) == priority and job[3] == generation then
    if seen[entry] then
      -- The one at the head stays: that is its place.
      found('doubled', id, 'twice in ready:' .. priority, function() call('LREM', list, -1, entry) end)
    else
      owned = owned + 1
    end
    seen[entry] = true
  end
end
compare('p' .. priority, owned + ARGV[7])
return { 1, findings }
