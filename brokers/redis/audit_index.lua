#!lua flags=allow-oom
-- Check a slice of an index: each entry has a job, and belongs where it is.
-- KEYS[1]  meta
-- ARGV[4]  1: mend what is found
-- ARGV[5]  scheduled, retrying, parking, expiring, done, failed, locks, parked:KEY, places:SCOPE, active:NODE or
--          cancel:NODE
-- ARGV[6]  where to go on; 0: at the beginning
-- ARGV[7]  how many entries, about
-- Returns  [where to go on (0: this was all), findings]
-- include: _clock _move _audit
local index, kind, rest = ARGV[5], string.match(ARGV[5], '^(%a+):?(.*)$')
local of_node = kind == 'active' or kind == 'cancel'
local is_hash = of_node or kind == 'locks' -- ids by the number of a delivery, or by a unique key
local COUNTER = { scheduled = 'scheduled', retrying = 'retrying', parking = 'waiting',
  failed = 'failed', parked = index, active = 'active' }

local function belongs(id, number, job)
  local state = job[1]
  if of_node then
    local held = state == 'active' and job[2] == '+' .. number .. ':' .. rest
    return held and (kind == 'active' or job[3])
  end
  if kind == 'locks' then return (state == 'active' or IDLE[state]) and job[6] == number end
  if kind == 'done' then return DONE[state] end
  if kind == 'expiring' then return IDLE[state] and job[4] end
  if kind == 'parking' then return state == 'waiting' end
  if kind == 'parked' then return state == 'waiting' and long(id, 'y', job[5] or '') == rest end
  if kind == 'places' then return state == 'active' and long(id, 'j', job[7] or '') == rest end
  return state == kind
end

local function drop(id, number)
  if is_hash then
    call('HDEL', P .. index, number)
  else
    call('ZREM', P .. index, id)
  end
end

local page = call(is_hash and 'HSCAN' or 'ZSCAN', P .. index, ARGV[6], 'COUNT', ARGV[7])
for i = 1, #page[2], 2 do
  local id, number = page[2][i], nil
  if is_hash then id, number = page[2][i + 1], page[2][i] end
  local job = call('HMGET', P .. 'job:' .. id, 's', 'o', 'u', 'e', 'y', 'h', 'j')
  local is_entry = not of_node or number ~= 'last'
  if is_entry and not belongs(id, number, job) then
    local gone = not job[1] or job[1] == 'gone'
    local words = gone and 'its record is gone' or 'the job is ' .. job[1]
    found(gone and 'lost' or 'misplaced', id, 'in ' .. index .. ', but ' .. words,
      function() drop(id, number) end, -1, { COUNTER[kind] })
  end
end
return { page[1], findings }
