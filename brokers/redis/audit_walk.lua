#!lua flags=no-writes
-- A slice of a long ready list, from its end towards its head: entries are taken at the head and added
-- at both ends, so that what is between a place and the end moves only when new ones come.
-- KEYS[1]  meta
-- ARGV[4]  priority
-- ARGV[5]  how many entries at the end were walked before
-- ARGV[6]  how many more
-- Returns  [length of the list, what the counter says, how often counters were corrected, and of
--          each entry, from the last to the first: the entry, its job's last delivery if the entry
--          counts, else nil]
-- include: _clock _move
local priority, before, most = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local list = P .. 'ready:' .. priority
local answer = {
  call('LLEN', list),
  sound(call('HGET', P .. 'stats', 'p' .. priority)) or 0,
  sound(call('HGET', KEYS[1], 'corrected')) or 0,
}
local entries = most > 0 and call('LRANGE', list, -before - most, -before - 1) or {}
for i = #entries, 1, -1 do
  local id, generation = entries[i], false
  local mark = string.find(id, '\0', 1, true)
  if mark then id, generation = string.sub(id, 1, mark - 1), string.sub(id, mark + 1) end
  local job = call('HMGET', P .. 'job:' .. id, 's', 'p', 'q', 'o')
  local owned = job[1] == 'pending' and level(job[2]) == priority and job[3] == generation
  answer[#answer + 1] = entries[i]
  answer[#answer + 1] = owned and (job[4] or '') or false
end
return answer
