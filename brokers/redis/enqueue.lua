#!lua
-- Store jobs.
-- KEYS[1]  meta
-- ARGV[4]  packed rows, as in _store
-- Returns  the positions (from 1) of the rows whose id belongs to another, unfinished job: of
--          those nothing is stored. Empty: all were accepted, now or in an earlier call. For one
--          whose unique key belongs to another job [position, that job's id, 1 where it stands for
--          this one or has taken its message, else 0]
-- include: _clock _move _lock _wire _store
local refused = {}
for i, row in ipairs(cmsgpack.unpack(ARGV[4])) do
  local stored, other = offer(row)
  if other then
    refused[#refused + 1] = { i, other, stored == nil and 0 or 1 }
  elseif stored == nil then
    refused[#refused + 1] = i
  end
end
flush_new()
return refused
