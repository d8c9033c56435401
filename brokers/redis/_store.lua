-- What stores new jobs. Needs _move, _lock and _wire.
-- A row is [id, wire] or [id, wire, priority, call, delay, eta, expires in, expires at, deadline], where
-- `wire` may be its parts, and, for a unique job, [key, 1 if until it starts, ms for which, what to do
-- where it is taken] after that, and its own limits, packed, after that; times in ms.
local EXISTING, REPLACE = 1, 2 -- else it is refused
local IDLE_STATES = { scheduled = true, pending = true, waiting = true, retrying = true }
local later = {}

local function options(row, fields)
  if row[3] ~= 5 then fields[#fields + 1] = 'p'; fields[#fields + 1] = row[3] end
  if row[4] ~= '' then fields[#fields + 1] = 'k'; fields[#fields + 1] = row[4] end
  local expires = row[8] or row[7] and now + row[7]
  if expires then
    fields[#fields + 1] = 'e'; fields[#fields + 1] = floor(expires)
    call('ZADD', P .. 'expiring', floor(expires), row[1])
  end
  if row[9] then fields[#fields + 1] = 'd'; fields[#fields + 1] = floor(row[9]) end
  if row[10] then lock(row[1], row[10], fields) end
  if row[11] then
    fields[#fields + 1] = 'L'
    fields[#fields + 1] = #row[11] <= LONGEST and row[11] or ''
    if #row[11] > LONGEST then call('HSET', P .. 'more:' .. row[1], 'L', row[11]) end
  end
  local due = row[6] or row[5] and now + row[5]
  if due then fields[#fields + 1] = 't'; fields[#fields + 1] = floor(due) end
  return due
end

local function store(row, generation, created)
  local id, wire = row[1], row[2]
  local state, due = 'pending', nil
  local fields = { 'c', created or MS }
  if #row > 2 then
    due = options(row, fields)
    if due and due > now then state = 'scheduled' end
  end
  if generation then fields[#fields + 1] = 'q'; fields[#fields + 1] = generation end
  put_wire(id, wire, fields)
  call('HSET', P .. 'job:' .. id, 's', state, unpack(fields))
  if state == 'pending' then return push(tails, id, row[3] or 5, generation) end
  later[#later + 1] = due
  later[#later + 1] = id
end

-- Put another message into a job that waits. What its runs have left stays, but for the failures that
-- count: the retries begin anew. Its last token, if that is unsettled, is of the other message.
local function replace(row, id, job)
  if #later > 0 then schedule('scheduled', later) end
  later = {}
  leave(id, job)
  call('HDEL', P .. 'job:' .. id, 'p', 'e', 'd', 't', 'f', 'm', 'o', 'A', 'b', 'i', 'g', 'hs', 'he', 'L')
  call('HDEL', P .. 'more:' .. id, 'm', 'g', 'L')
  drop_wire(id)
  store({ id, row[2], row[3], '', row[5], row[6], row[7], row[8], row[9], row[10], row[11] }, job.q, job.c)
  bump(P .. 'job:' .. id, 'hn', 1)
  -- So that a repeat of this call is known.
  local trace = P .. 'job:' .. row[1]
  if call('EXISTS', trace) == 1 then return end
  call('HSET', trace, 's', 'gone', 'z', MS, 'o', '', 'k', row[4], 'ha', id)
  call('PEXPIRE', trace, GRAVE)
end

-- What becomes of a job whose unique key another one has; see `offer`.
local function meet(row, id, job)
  local wanted = row[10][4]
  if wanted == REPLACE and IDLE_STATES[job.s] then
    replace(row, id, job)
    return true, id
  end
  if wanted == EXISTING then return false, id end
  return nil, id
end

-- Store a job, unless an unfinished one has its id or its unique key. True: it was stored now; false:
-- in an earlier call; nil: it was not. With it the id of the job whose key it is: in which it was
-- stored, which stands for it, or which is in its way.
local function offer(row)
  local key, old = P .. 'job:' .. row[1], nil
  if call('EXISTS', key) == 1 then
    old = call('HMGET', key, 's', 'k', 'q', 'z', 'ha')
    if (old[2] or '') == (row[4] or '') and not is_gone(old[1], old[4]) then return false, old[5] end
    if old[1] and not FINISHED[old[1]] then return nil end
  end
  if row[10] then
    local id, job = holder(row[10][1])
    if id then return meet(row, id, job) end
  end
  if old and old[1] then remove(row[1], old[1]) end
  store(row, old and old[3])
  return true
end

local function flush_new()
  if #later > 0 then schedule('scheduled', later) end
  flush()
end
