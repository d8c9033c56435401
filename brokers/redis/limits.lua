#!lua flags=no-writes
-- What holds the scopes of a queue, and how they are now.
-- KEYS[1]  meta
-- ARGV[4]  a job's id; nothing: all scopes for which something was declared, set or paused
-- Returns  rows of [scope, declared, set (packed, or empty), ms until a pause ends (-1: it is none, NEVER),
--          places taken, ms until its bucket is unused, jobs parked for its rate, for its places, for its
--          pause, what the job itself says, what holds the job there: interval, burst, max running
--          (packed, or empty)]; numbers as text
-- include: _clock _move _wire _gates _limits
local rows, seen = {}, {}

local function parked_under(kind, scope)
  return sound(call('HGET', P .. 'parked', 'limit:' .. kind .. ':' .. scope)) or 0
end

local function add(scope, own, holds)
  if seen[scope] then return end
  seen[scope] = true
  local ends, taken = paused_until(scope), call('ZCARD', P .. 'places:' .. scope)
  if scope == 'queue' then taken = sound(call('HGET', P .. 'stats', 'active')) or 0 end
  local tat = sound(call('ZSCORE', P .. 'tats', scope)) or now
  rows[#rows + 1] = {
    scope, setting('d:' .. scope) or '', setting('s:' .. scope) or '',
    string.format('%.3f', ends and (ends >= NEVER and NEVER or ends - now) or -1), tostring(taken),
    string.format('%.3f', math.max(0, tat - now)), tostring(parked_under('rate', scope)),
    tostring(parked_under('running', scope)), tostring(parked_under('paused', scope)), own or '',
    holds or '',
  }
end

if ARGV[4] == '' then
  for _, hash in ipairs({ 'limits', 'keylimits' }) do
    for _, field in ipairs(call('HKEYS', P .. hash)) do
      local scope = string.match(field, '^[dsp]:(.*)$')
      if scope then add(scope) end
    end
  end
else
  local job = read(ARGV[4])
  if not job.s or job.s == 'gone' then return {} end
  local own = job.L and long(ARGV[4], 'L', job.L)
  local what = concerns(ARGV[4], job)
  -- What of it holds a scope: the numbers that count where it has its bucket or its place.
  local function holding(scope)
    local rate, most = scope == what.rate_bucket and what.rate, scope == what.running_bucket and what.most
    return cmsgpack.pack({ rate and rate[2] or false, rate and rate[3] or false, most and most[5] or false })
  end
  add('queue')
  for _, scope in ipairs({ what.task or false, what.rate_key and 'key:' .. what.rate_key or false,
    what.running_key and 'key:' .. what.running_key or false }) do
    if scope then add(scope, scope == what.task and own, holding(scope)) end
  end
end
return rows
