-- Take jobs back from a node that does not answer for them any more. Needs _gates.
local LOSSES_OF_SUSPECTS = 2
local ERRORS_KEPT = 20

-- Losses of a job that its node ran alone are crashes; whether this one was once too often.
local function is_convicted(id, job, node)
  local most = sound(job.A) or 0
  if most < 1 then return false end
  local text = 'node ' .. node .. ' was lost, which ran this job and nothing else'
  call('LPUSH', P .. 'errors:' .. id, cmsgpack.pack({ 'crashed', text, '', (job.n or 0) + 1, ms / 1000 }))
  call('LTRIM', P .. 'errors:' .. id, 0, ERRORS_KEPT - 1)
  return bump(P .. 'job:' .. id, 'x', 1) >= most
end

-- One active job: to the head of its priority, or, where a cancel waits for it or it is convicted,
-- to its end. The token stays unsettled: as long as nobody fetches the job, its node may still
-- settle it.
-- False where the token no longer holds the job.
local function take_one(id, number, node, loss)
  local key = P .. 'job:' .. id
  local job = read(id)
  if job.s ~= 'active' or job.o ~= '+' .. number .. ':' .. node then return false end
  count('active', -1)
  release(id, job)
  if loss > 0 and bump(key, 'l', loss) >= LOSSES_OF_SUSPECTS then call('HSET', key, 'a', 1) end
  local convicted = loss > 0 and job.A and is_convicted(id, job, node)
  if job.u then
    call('HDEL', P .. 'cancel:' .. node, number)
    finish(id, 'cancelled', job, KEEP)
    return true
  end
  if convicted then
    count('failures', 1)
    finish(id, 'failed', job, 0, 'crashed')
    return true
  end
  call('HSET', key, 's', 'pending')
  if job.e then call('ZADD', P .. 'expiring', job.e, id) end
  push(heads, id, job.p or '5', job.q)
  return true
end

-- Up to `limit` jobs of a node, in the order in which it got them; when nothing is left, the node
-- itself is forgotten. How many jobs.
local function take_from(node, limit, loss)
  local active = P .. 'active:' .. node
  local found, cursor = {}, '0'
  repeat
    local page = call('HSCAN', active, cursor, 'COUNT', limit)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      if page[2][i] ~= 'last' then found[#found + 1] = { sound(page[2][i]) or 0, page[2][i + 1], page[2][i] } end
    end
  until cursor == '0' or #found >= limit
  table.sort(found, function(a, b) return a[1] < b[1] end)
  local taken = 0
  for i = 1, math.min(#found, limit) do
    call('HDEL', active, found[i][3])
    if take_one(found[i][2], found[i][3], node, loss) then taken = taken + 1 end
  end
  if cursor == '0' and #found <= limit then
    call('UNLINK', active, P .. 'cancel:' .. node)
    call('ZREM', P .. 'holders', node)
    call('HDEL', P .. 'leases', node)
    call('SREM', P .. 'idle', node)
    call('HDEL', P .. 'hands', node)
  end
  return taken
end
