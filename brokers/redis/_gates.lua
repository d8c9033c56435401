-- Gates: one for each key under which a limit holds jobs back, and when jobs may be taken from there.
-- In `gates` its score is a time in ms, NEVER where only an event opens it, or below 0: it is open, the
-- more urgent its first job the lower. Needs _clock and _move.
local NEVER, OPEN, BAND = 9e15, -1e15, 2 ^ 45
local FLOW = meta[4] -- this queue has limits, pauses or gates
local gates_moved, is_opened = false, false

local function is_limit(key)
  return string.sub(key, 1, 6) == 'limit:'
end

-- The queue has something in `limits`: scripts look there from now on.
local function begin_flow()
  if FLOW then return end
  FLOW = '1'
  call('HSET', KEYS[1], 'flow', 1)
end

local function set_gate(key, score)
  call('ZADD', P .. 'gates', score, key)
  gates_moved = true
end

-- The first job behind a gate: [id, rank]; nothing where there is none.
local function first_behind(key)
  return call('ZRANGE', P .. 'parked:' .. key, 0, 0, 'WITHSCORES')
end

-- Jobs may be taken from there, as far as limits permit.
local function open_gate(key)
  local first = first_behind(key)
  if first[1] then
    set_gate(key, OPEN + first[2])
  else
    call('ZREM', P .. 'gates', key)
    gates_moved = true
  end
  is_opened = true
end

-- A place in the line behind a gate: by priority; then those that were delivered before, which come
-- back; then in the order in which they came.
local function rank_of(job)
  local band = (9 - (job.p or '5')) * 2 + (job.o and 0 or 1)
  return band * BAND + bump(KEYS[1], 'order', 1)
end

-- Give back the place of a delivery that is over. Called wherever a job leaves `active`.
local function release(id, job)
  if not job.j then return end
  local bucket = long(id, 'j', job.j)
  call('ZREM', P .. 'places:' .. bucket, id)
  call('HDEL', P .. 'job:' .. id, 'j')
  open_gate('limit:running:' .. bucket)
end

-- Remember the first gate's time beside the limits, which every fetch reads, and wake somebody if one
-- was opened. Before `flush`.
local function flush_gates()
  if gates_moved then
    local first = call('ZRANGE', P .. 'gates', 0, 0, 'WITHSCORES')
    if first[1] then
      begin_flow()
      call('HSET', P .. 'limits', 'next', first[2])
    else
      call('HDEL', P .. 'limits', 'next')
    end
  end
  if is_opened and not (next(heads) or next(tails)) then ring_ready() end
end
