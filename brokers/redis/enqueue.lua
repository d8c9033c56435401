#!lua
-- Store jobs.
-- KEYS[1]  meta
-- ARGV[4]  packed rows, as in _store
-- Returns  the positions (from 1) of the rows whose id belongs to another, unfinished job: of
--          those nothing is stored. Empty: all were accepted, now or in an earlier call. For one
--          whose unique key belongs to another job [position, that job's id, 1 where it stands for
--          this one or has taken its message, else 0]
-- include: _clock _move _hand _lock _wire _store
local refused = {}
local rows = cmsgpack.unpack(ARGV[4])
for i, row in ipairs(rows) do
  local stored, other = offer(row)
  if other then
    refused[#refused + 1] = { i, other, stored == nil and 0 or 1 }
  elseif stored == nil then
    refused[#refused + 1] = i
  end
end
-- A job that may come too late, or has limits of its own, has to be looked at when it is fetched.
local row = rows[1]
if #rows == 1 and not (row[7] or row[8] or row[9] or row[11]) then
  local priority, list = next(tails)
  if list and list[1] == row[1] and hand_over(row[1], row[2]) then
    tails[priority] = nil
    count('active', 1)
  end
end
flush_new()
return refused
