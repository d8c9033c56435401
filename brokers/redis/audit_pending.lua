#!lua flags=allow-oom
-- Pending jobs that a walk through their ready list has not met, or has met twice. Those that have
-- waited in one place since before that walk are what it says.
-- KEYS[1]  meta
-- ARGV[4]  1: mend what is found
-- ARGV[5]  packed rows of [id, priority, entry, last delivery], as they were before the walk
-- ARGV[6]  1: they were met twice; 0: not at all
-- Returns  findings
-- include: _clock _move _audit
local doubled = ARGV[6] == '1'
for _, row in ipairs(cmsgpack.unpack(ARGV[5])) do
  local id, job = row[1], read(row[1])
  local entry = job.q and id .. '\0' .. job.q or id
  local same = entry == row[3] and (job.p or '5') == row[2] and (job.o or '') == row[4]
  local function again() place_again(id, job) end
  if job.s == 'pending' and same and doubled then
    found('doubled', id, 'twice in ready:' .. row[2], again)
  elseif job.s == 'pending' and same then
    found('unindexed', id, 'pending, and not in ready:' .. row[2], again, 1, { 'p' .. row[2] })
  end
end
flush()
return findings
