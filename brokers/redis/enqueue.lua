#!lua
-- Store jobs.
-- KEYS[1]  meta
-- ARGV[4]  packed rows, as in _store
-- Returns  the positions (from 1) of the rows whose id belongs to another, unfinished job: of
--          those nothing is stored. Empty: all were accepted, now or in an earlier call.
-- include: _clock _move _store
local refused = {}
for i, row in ipairs(cmsgpack.unpack(ARGV[4])) do
  if offer(row) == nil then refused[#refused + 1] = i end
end
flush_new()
return refused
