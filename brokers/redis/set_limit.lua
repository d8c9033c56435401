#!lua flags=allow-oom
-- Write what holds a scope of this queue, and let those who wait for that try again.
-- KEYS[1]  meta
-- ARGV[4]  s: a limit, or p: a pause
-- ARGV[5]  scope: queue, task:NAME, key:KEY
-- ARGV[6]  for a limit it packed, as in _limits; for a pause the ms it lasts, or `ever`; empty: nothing
-- ARGV[7]  how many keys may have something set
-- Returns  1: something was there; 0: nothing was; -1: too many keys have something set
-- include: _clock _move _gates
local scope, value = ARGV[5], ARGV[6]
local is_key = string.sub(scope, 1, 4) == 'key:'
local hash, field = P .. (is_key and 'keylimits' or 'limits'), ARGV[4] .. ':' .. scope
local before = call('HGET', hash, field)
if before and ARGV[4] == 'p' and (sound(before) or NEVER) <= now then before = false end
if value == '' then
  call('HDEL', hash, field)
else
  if is_key and not before and call('HLEN', hash) >= tonumber(ARGV[7]) then return -1 end
  if ARGV[4] == 'p' then value = value == 'ever' and NEVER or now + value end
  begin_flow()
  call('HSET', hash, field, value)
end
if is_key then
  if call('EXISTS', hash) == 1 then
    call('HSET', P .. 'limits', 'keys', 1)
  else
    call('HDEL', P .. 'limits', 'keys')
  end
end
for _, kind in ipairs({ 'limit:rate:', 'limit:running:', 'limit:paused:' }) do open_gate(kind .. scope) end
if scope == 'queue' then open_gate('limit:queue') end
flush_gates()
flush()
return before and 1 or 0
