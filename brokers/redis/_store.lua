-- What stores new jobs. Needs _move.
-- A row is [id, wire] or [id, wire, priority, call, delay, eta, expires in, expires at, deadline];
-- times in ms.
local FINISHED = { succeeded = true, failed = true, cancelled = true, expired = true, gone = true }
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
  local due = row[6] or row[5] and now + row[5]
  if due then fields[#fields + 1] = 't'; fields[#fields + 1] = floor(due) end
  return due
end

local function store(row, generation)
  local id, wire = row[1], row[2]
  local state, due = 'pending', nil
  local fields = { 'c', MS }
  if #row > 2 then
    due = options(row, fields)
    if due and due > now then state = 'scheduled' end
  end
  if generation then fields[#fields + 1] = 'q'; fields[#fields + 1] = generation end
  if #wire <= LONGEST then
    fields[#fields + 1] = 'w'; fields[#fields + 1] = wire
  else
    call('SET', P .. 'body:' .. id, wire)
  end
  call('HSET', P .. 'job:' .. id, 's', state, unpack(fields))
  if state == 'pending' then return push(tails, id, row[3] or 5, generation) end
  later[#later + 1] = due
  later[#later + 1] = id
end

-- Store a job, unless an unfinished one has its id. True: it was stored now; false: in an earlier
-- call; nil: it was not.
local function offer(row)
  local key = P .. 'job:' .. row[1]
  if call('EXISTS', key) == 0 then
    store(row)
    return true
  end
  local old = call('HMGET', key, 's', 'k', 'q', 'z')
  if (old[2] or '') == (row[4] or '') and not is_gone(old[1], old[4]) then return false end
  if not FINISHED[old[1]] then return nil end
  remove(row[1], old[1])
  store(row, old[3])
  return true
end

local function flush_new()
  if #later > 0 then schedule('scheduled', later) end
  flush()
end
