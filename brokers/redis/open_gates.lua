#!lua flags=allow-oom
-- Let those try again who wait behind gates: what limits say has changed.
-- KEYS[1]  meta
-- ARGV[4]  where to go on; 0: at the beginning
-- ARGV[5]  how many gates, about
-- Returns  where to go on; 0: this was all
-- include: _clock _move _gates
local page = call('ZSCAN', P .. 'gates', ARGV[4], 'COUNT', ARGV[5])
for i = 1, #page[2], 2 do
  if tonumber(page[2][i + 1]) >= 0 then open_gate(page[2][i]) end
end
flush_gates()
flush()
return page[1]
