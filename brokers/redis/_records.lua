-- In front of scripts that change records. Needs _moment.
-- KEYS[2]  {namespace}:records:KIND
-- KEYS[3]  {namespace}:ids:KIND
-- KEYS[4]  {namespace}:lapsing:KIND
local function remove(id)
  call('HDEL', KEYS[2], id)
  call('ZREM', KEYS[3], id)
  call('ZREM', KEYS[4], id)
end

-- The value of a record; empty where there is none.
local function value_of(id)
  local lapses = call('ZSCORE', KEYS[4], id)
  return not (lapses and tonumber(lapses) <= now) and call('HGET', KEYS[2], id) or ''
end

-- A change puts in one at most, and takes out many: what has lapsed does not pile up. Where all that
-- is left lapses, the keys do so too.
local function tidy()
  for _, id in ipairs(call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, 100)) do remove(id) end
  local last = call('ZREVRANGE', KEYS[4], 0, 0, 'WITHSCORES')[2]
  local all = last and call('ZCARD', KEYS[4]) == call('HLEN', KEYS[2])
  for i = 2, 4 do
    if all then
      call('PEXPIRE', KEYS[i], math.ceil(last - now))
    else
      call('PERSIST', KEYS[i])
    end
  end
end
