#!lua flags=allow-oom
-- Refuse ticks of older revisions of a schedule from now on, and tell everybody that it has changed.
-- KEYS[1]  meta
-- ARGV[4]  schedule
-- ARGV[5]  revision
-- ARGV[6]  ms after which it may be forgotten; nothing: never
-- ARGV[7]  the channel that every mailbox hears
-- Returns  the last slot that was claimed, in ms; 0: none was
-- include: _clock
local key = P .. 'slot:' .. ARGV[4]
local found = call('HMGET', key, 't', 'r', 'g')
if tonumber(ARGV[5]) > (sound(found[2]) or -1) then call('HSET', key, 'r', ARGV[5]) end
if ARGV[6] ~= '' then call('HSET', key, 'g', 1) end
for _, kind in ipairs({ 'slot:', 'fired:', 'firing:' }) do
  if ARGV[6] ~= '' then
    call('PEXPIRE', P .. kind .. ARGV[4], ARGV[6])
  elseif found[3] then
    call('PERSIST', P .. kind .. ARGV[4])
  end
end
if ARGV[6] == '' and found[3] then call('HDEL', key, 'g') end
call('PUBLISH', ARGV[7], '7 ' .. QUEUE .. ' ' .. ARGV[4])
return sound(found[1]) or 0
