-- Whether jobs may be delivered, by the limits that concern them. Needs _clock, _move, _wire and _gates.
--
-- `limits` and `keylimits` hold, packed, [1, interval in ms, burst, starts let go together, max running]
-- under `d:SCOPE` (declared) and `s:SCOPE` (set), false where nothing is said and -1 where nothing
-- holds; under `p:SCOPE` the ms at which a pause ends, or NEVER. SCOPE is queue, task:NAME or key:KEY.
local UNREADABLE = { false, false, false, false, false, broken = true }
local TOLERANCE = 0.01 -- ms; times have a resolution of a fraction of a microsecond
local settings, parsed, tats, running = nil, {}, {}, {}

local function setting(name)
  if not FLOW then return nil end
  if not settings then
    settings = {}
    local flat = call('HGETALL', P .. 'limits')
    for i = 1, #flat, 2 do settings[flat[i]] = flat[i + 1] end
  end
  if settings[name] == nil then
    local is_key = settings.keys and string.sub(name, 2, 6) == ':key:'
    settings[name] = is_key and call('HGET', P .. 'keylimits', name) or false
  end
  return settings[name]
end

local function numbers(name)
  if parsed[name] == nil then
    local text = setting(name)
    local is_sound, found = pcall(cmsgpack.unpack, text or '')
    if not text then
      found = false
    elseif not is_sound or type(found) ~= 'table' or found[1] ~= 1 or #found < 5 then
      found = UNREADABLE
    end
    parsed[name] = found
  end
  return parsed[name]
end

-- Until when a scope is paused, in ms; nil: it is not.
local function paused_until(scope)
  local ends = setting('p:' .. scope)
  if not ends then return nil end
  ends = sound(ends) or NEVER
  return (ends > now or ends >= NEVER) and ends or nil
end

-- The name of a job's task, from its message; nil where that cannot be read.
local function task_of(id, job)
  job.wire = job.wire or wire_of(id, job)
  if not job.wire then return nil end
  local wire = whole(job.wire)
  local is_sound, found = pcall(function()
    local lead = string.byte(wire, 3)
    local from = lead == 0xde and 5 or lead == 0xdf and 7 or 3 -- where the map's first key begins, from 0
    if string.sub(wire, from + 1, from + 2) == '\161t' then
      local _, name = cmsgpack.unpack_one(wire, from + 2)
      return name
    end
    local _, header = cmsgpack.unpack_one(wire, 2)
    return header.t
  end)
  return is_sound and type(found) == 'string' and found or nil
end

-- [rate key, running key, interval, burst, together, max running], false where nothing is said
local function own_limits(id, job)
  if not job.L then return {} end
  local is_sound, found = pcall(cmsgpack.unpack, long(id, 'L', job.L))
  return is_sound and type(found) == 'table' and found or {}
end

-- The first of the sources that says something, in the field that counts (2 a rate, 5 a max running).
-- nil: nothing holds.
local function holds(field, key, task, own)
  local said
  local function ask(found)
    if said == nil and found then
      if found.broken then
        said = found
      elseif found[field] then
        said = found
      end
    end
  end
  if key then ask(numbers('s:key:' .. key)) end
  if task then ask(numbers('s:task:' .. task)) end
  ask(own)
  if task then ask(numbers('d:task:' .. task)) end
  if said and not said.broken and said[field] == -1 then return nil end
  return said
end

-- What a job is counted by: its rate's bucket and numbers, its places' bucket and most, nil where there
-- is none; and the scopes of which a pause would hold it.
local function concerns(id, job)
  local own = own_limits(id, job)
  local task = task_of(id, job)
  local rate_key, running_key = own[1] or nil, own[2] or nil
  local numbers_of_its_own = job.L and { 1, own[3], own[4], own[5], own[6] } or nil
  local by_task = task and 'task:' .. task
  local found = { task = by_task, rate_key = rate_key, running_key = running_key }
  found.rate = holds(2, rate_key, task, numbers_of_its_own)
  found.rate_bucket = rate_key and 'key:' .. rate_key or by_task or 'task:'
  found.most = holds(5, running_key, task, numbers_of_its_own)
  found.running_bucket = running_key and 'key:' .. running_key or by_task or 'task:'
  return found
end

local function keep_tat(bucket, tat)
  tats[bucket] = tat
  call('ZADD', P .. 'tats', string.format('%.6f', tat), bucket)
end

-- The moment up to which a bucket is used. Where it is further ahead than any start can put it, the
-- clock went back, or the rate was slower before: then it is all used, from now on.
local function tat_of(bucket, rate)
  if not tats[bucket] then tats[bucket] = sound(call('ZSCORE', P .. 'tats', bucket)) or 0 end
  local furthest = now + rate[3] * rate[2]
  if tats[bucket] > furthest + TOLERANCE then keep_tat(bucket, furthest) end
  return math.max(now, math.min(tats[bucket], furthest))
end

local function running_of(bucket)
  if not running[bucket] then running[bucket] = call('ZCARD', P .. 'places:' .. bucket) end
  return running[bucket]
end

local function use(bucket, rate, starts)
  keep_tat(bucket, tat_of(bucket, rate) + starts * rate[2])
end

-- When so many starts are permitted as are let go together.
local function opens_at(bucket, rate)
  return tat_of(bucket, rate) - (rate[3] - rate[4]) * rate[2]
end

-- What holds a job: the key under which it waits, and the ms from which it is worth a try. nil: nothing.
local function refusal(what)
  for _, scope in ipairs({ what.task or false, what.rate_key and 'key:' .. what.rate_key or false,
    what.running_key and 'key:' .. what.running_key or false }) do
    local ends = scope and paused_until(scope)
    if ends then return 'limit:paused:' .. scope, ends end
  end
  local most = what.most
  if most and (most.broken or running_of(what.running_bucket) >= most[5]) then
    return 'limit:running:' .. what.running_bucket, NEVER
  end
  local rate, bucket = what.rate, what.rate_bucket
  if rate and rate.broken then return 'limit:rate:' .. bucket, NEVER end
  if rate and tat_of(bucket, rate) - (rate[3] - 1) * rate[2] - now >= TOLERANCE then
    return 'limit:rate:' .. bucket, opens_at(bucket, rate)
  end
end

-- Take all that a job needs to be delivered.
local function take_grants(id, what)
  if what.rate then use(what.rate_bucket, what.rate, 1) end
  if what.most then
    local bucket = what.running_bucket
    call('ZADD', P .. 'places:' .. bucket, ms, id)
    running[bucket] = running_of(bucket) + 1
    put(id, 'j', bucket)
  end
end

-- How many jobs the limits of the whole queue permit to deliver now, and the ms from which there may be
-- more. No limit: the second is nil.
local function permitted(wanted)
  if not FLOW then return wanted end
  local ends = paused_until('queue')
  if ends then return 0, ends end
  local set, most, opens = numbers('s:queue'), wanted, nil
  if not set then return wanted end
  if set.broken then return 0, NEVER end
  if set[5] and set[5] ~= -1 then
    most = math.min(most, set[5] - (sound(call('HGET', P .. 'stats', 'active')) or 0))
    opens = NEVER
  end
  if set[2] and set[2] ~= -1 then
    local left = now + set[3] * set[2] - tat_of('queue', set)
    local starts = floor((left + TOLERANCE) / set[2])
    if starts <= most then most, opens = starts, opens_at('queue', set) end
  end
  return math.max(0, most), opens
end
