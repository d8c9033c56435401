#!lua flags=no-writes
-- How long the job has waited that has waited longest of those whose turn comes first, in each priority.
-- KEYS[1]  meta
-- Returns  [ms since it was submitted or fell due]; nothing in it: none is ready
-- include: _clock
local LOOKED_AT = 20 -- entries of each list: those of jobs that have left are passed over

local function since(entry, priority)
  local id, generation = entry, false
  local mark = string.find(entry, '\0', 1, true)
  if mark then id, generation = string.sub(entry, 1, mark - 1), string.sub(entry, mark + 1) end
  local job = call('HMGET', P .. 'job:' .. id, 's', 'p', 'q', 'c', 't')
  local level = job[2] and string.match(job[2], '^%d$') or '5'
  if job[1] ~= 'pending' or level ~= priority or job[3] ~= generation then return nil end
  return math.max(sound(job[4]) or ms, sound(job[5]) or 0)
end

local oldest
for priority = 0, 9 do
  for _, entry in ipairs(call('LRANGE', P .. 'ready:' .. priority, 0, LOOKED_AT - 1)) do
    local at = since(entry, tostring(priority))
    if at then
      oldest = math.min(oldest or at, at)
      break
    end
  end
end
return oldest and { ms - oldest } or {}
