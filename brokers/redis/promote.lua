#!lua flags=allow-oom
-- Make due jobs pending, in the order of their times, and open gates whose time has come.
-- KEYS[1]  meta
-- ARGV[4]  how many at most
-- Returns  how many jobs
-- include: _clock _move _gates
local limit, due = tonumber(ARGV[4]), {}
for _, set in ipairs({ 'scheduled', 'retrying' }) do
  local found = call('ZRANGEBYSCORE', P .. set, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #found, 2 do due[#due + 1] = { tonumber(found[i + 1]), found[i], set } end
end
table.sort(due, function(a, b) return a[1] < b[1] or a[1] == b[1] and a[2] < b[2] end)
local gone = { scheduled = {}, retrying = {} }
for i = 1, math.min(limit, #due) do
  local id, set = due[i][2], due[i][3]
  local job = call('HMGET', P .. 'job:' .. id, 's', 'p', 'q')
  if job[1] == set then -- else its record is gone, or was changed by a hand that went around us
    call('HSET', P .. 'job:' .. id, 's', 'pending')
    push(tails, id, level(job[2]), job[3])
  end
  table.insert(gone[set], id)
end
for set, ids in pairs(gone) do
  for i = 1, #ids, SLICE do call('ZREM', P .. set, unpack(ids, i, math.min(i + SLICE - 1, #ids))) end
  count(set, -#ids)
end
if FLOW then
  for _, key in ipairs(call('ZRANGEBYSCORE', P .. 'gates', 0, now, 'LIMIT', 0, limit)) do open_gate(key) end
  flush_gates()
end
flush()
return math.min(limit, #due)
