#!lua
-- Store a job that has nothing but defaults, as most have that are submitted alone: what `enqueue` would do,
-- with a third of its functions. A server makes those anew each time.
-- KEYS[1]  meta
-- ARGV[4]  id
-- ARGV[5]  the wire, or its first part
-- ARGV[6]  its second part, if it has parts
-- ARGV[7]  its third
-- Returns  nothing in a list: it was stored; [1]: there is a record of this id, and `enqueue` knows what that
--          means
-- include: _clock _move _hand _wire
local USUAL = '5' -- priority
local id, wire = ARGV[4], ARGV[5]
local key = P .. 'job:' .. id
if call('EXISTS', key) == 1 then return { 1 } end
if ARGV[6] then wire = { wire, ARGV[6], ARGV[7] } end
local fields = { 'c', MS }
put_wire(id, wire, fields)
call('HSET', key, 's', 'pending', unpack(fields))
if hand_over(id, wire) then
  bump(P .. 'stats', 'active', 1)
else
  call('RPUSH', P .. 'ready:' .. USUAL, id)
  bump(P .. 'stats', 'p' .. USUAL, 1)
  if not is_silent then ring_ready() end
end
return {}
