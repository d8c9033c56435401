#!lua flags=allow-oom
-- Write what code declares of tasks.
-- KEYS[1]  meta
-- ARGV[4]  packed map: by task a limit, packed, as in _limits; empty: it has none
-- Returns  1 if something has changed
-- include: _clock _move _gates
local has_changed = 0
for task, packed in pairs(cmsgpack.unpack(ARGV[4])) do
  local field = 'd:task:' .. task
  if packed ~= '' and call('HGET', P .. 'limits', field) ~= packed then
    begin_flow()
    call('HSET', P .. 'limits', field, packed)
    has_changed = 1
  elseif packed == '' and FLOW and call('HDEL', P .. 'limits', field) == 1 then
    has_changed = 1
  end
end
return has_changed
