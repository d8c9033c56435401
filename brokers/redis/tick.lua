#!lua
-- Claim slots of schedules, and store their jobs.
-- KEYS[1]  meta
-- ARGV[4]  packed rows [schedule, slot, due, revision, known at, wall, zone, skip overlap, job]; the
--          job as in _store, the others as in slots.Tick, times in ms; slot nil: by hand
-- ARGV[5]  ms for which what a node knows is believed
-- ARGV[6]  how many firings are remembered
-- Returns  for each [kind, as slots.TickKind; last slot claimed, 0 for none; ms until it is due, as
--          text, for one that is early]
-- include: _clock _move _lock _wire _store
local SUBMITTED, OVERLAP, DUPLICATE, TAKEN, EARLY, STALE = 0, 1, 2, 3, 4, 5
local KNOWN_FOR, KEPT = tonumber(ARGV[5]), tonumber(ARGV[6])

local function text(moment)
  return string.format('%.0f', moment)
end

-- Why a slot cannot be claimed, as a kind; nil: it can.
local function refusal(slot, due, revision, known, wall, zone, have)
  if revision < have.revision or math.abs(now - known) > KNOWN_FOR then return STALE end
  if slot <= have.last then return TAKEN end
  if wall and have.wall and zone == have.zone and wall <= have.wall then return TAKEN end
  if due > now then return EARLY end
end

local function remembered(name)
  local found = call('HMGET', P .. 'slot:' .. name, 't', 'r', 'w', 'z', 'j', 'g')
  return {
    last = sound(found[1]) or 0, revision = sound(found[2]) or 0,
    wall = sound(found[3]), zone = found[4] or '', job = found[5], gone = found[6],
  }
end

-- A firing goes by its slot, one by hand by its job and call.
local function name_of(slot, job)
  return slot and text(slot) or '+' .. job[1] .. (job[4] or '')
end

local function write_down(name, firing, entry)
  local list, entries = P .. 'fired:' .. name, P .. 'firing:' .. name
  if call('HSETNX', entries, firing, cmsgpack.pack(entry)) == 0 then return end
  if call('LPUSH', list, firing) > KEPT then call('HDEL', entries, call('RPOP', list)) end
end

local function is_unfinished(id)
  local state = id and call('HGET', P .. 'job:' .. id, 's')
  return state and not FINISHED[state]
end

local function fire(name, firing, skip, job, last_job)
  if skip == 1 and is_unfinished(last_job) then return OVERLAP, '' end
  local is_new, other = offer(job)
  if is_new == nil or other then return DUPLICATE, '' end
  if is_new then put(job[1], 'v', '@' .. #firing .. ':' .. firing .. name) end
  return SUBMITTED, job[1]
end

local function keep(name)
  for _, kind in ipairs({ 'slot:', 'fired:', 'firing:' }) do call('PERSIST', P .. kind .. name) end
  call('HDEL', P .. 'slot:' .. name, 'g')
end

local function tick(name, slot, due, revision, known, wall, zone, skip, job)
  local have, key = remembered(name), P .. 'slot:' .. name
  local refused = slot and refusal(slot, due, revision, known, wall, zone, have)
  if refused then
    return { refused, have.last, refused == EARLY and string.format('%.3f', due - now) or '0' }
  end
  local firing = name_of(slot, job)
  local kind, id = fire(name, firing, slot and skip, job, have.job)
  if slot then
    call('HSET', key, 't', text(slot), 'r', text(revision), 'w', wall and text(wall) or '', 'z', zone)
  end
  if kind == SUBMITTED then call('HSET', key, 'j', id) end
  write_down(name, firing, { slot or false, ms, kind, id, false, false })
  if have.gone then keep(name) end
  return { kind, slot or have.last, '0' }
end

local answers = {}
for i, row in ipairs(cmsgpack.unpack(ARGV[4])) do answers[i] = tick(unpack(row, 1, 9)) end
flush_new()
return answers
