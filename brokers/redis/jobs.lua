#!lua flags=no-writes
-- A page of the jobs that are in one state, in the order of its index.
-- KEYS[1]  meta
-- ARGV[4]  the state
-- ARGV[5]  where to go on, as answered before; empty: at the beginning
-- ARGV[6]  how many entries of the index at most
-- ARGV[7]  only from this time (ms) on; empty: from any
-- ARGV[8]  only up to this time; empty: up to any
-- Returns  [where to go on (empty: this was all), ids…]
-- include: _clock
local state, cursor, limit = ARGV[4], ARGV[5], tonumber(ARGV[6])
local since, till = ARGV[7] ~= '' and ARGV[7] or '-inf', ARGV[8] ~= '' and ARGV[8] or '+inf'
local INDEX = { scheduled = 'scheduled', retrying = 'retrying', waiting = 'parking', failed = 'failed' }
local page = { '' }

-- Whether a comes after b, as a sorted set orders members of one score: by their bytes.
local function after(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end

-- How many entries of the same score stand up to where the last page ended; nil: that entry is gone.
local function behind(set, score, id, newest)
  if call('ZSCORE', set, id) ~= score then return nil end
  if newest then return call('ZREVRANK', set, id) - call('ZCOUNT', set, '(' .. score, '+inf') + 1 end
  return call('ZRANK', set, id) - call('ZCOUNT', set, '-inf', '(' .. score) + 1
end

local function from_set(set, newest)
  local score, last = string.match(cursor, '^(%S+) (.*)$')
  local function read(offset, most)
    if newest then
      return call('ZREVRANGEBYSCORE', set, score or till, since, 'WITHSCORES', 'LIMIT', offset, most)
    end
    return call('ZRANGEBYSCORE', set, score or since, till, 'WITHSCORES', 'LIMIT', offset, most)
  end
  local offset = score and behind(set, score, last, newest) or 0
  local entries = read(offset, limit)
  local function was_seen(i)
    if not score or entries[i + 1] ~= score then return false end
    if newest then return not after(last, entries[i]) end
    return not after(entries[i], last)
  end
  -- Where the entry at which the last page ended is gone, those that stood before it come again.
  while #entries > 0 and was_seen(#entries - 1) do
    offset = offset + #entries / 2
    entries = read(offset, limit)
  end
  for i = 1, #entries, 2 do
    local id = entries[i]
    if not was_seen(i) and call('HGET', P .. 'job:' .. id, 's') == state then page[#page + 1] = id end
  end
  if #entries == 2 * limit then page[1] = entries[#entries] .. ' ' .. entries[#entries - 1] end
end

local function id_of_owned(entry, priority)
  local id, generation = entry, false
  local mark = string.find(entry, '\0', 1, true)
  if mark then id, generation = string.sub(entry, 1, mark - 1), string.sub(entry, mark + 1) end
  local job = call('HMGET', P .. 'job:' .. id, 's', 'p', 'q')
  local level = job[2] and string.match(job[2], '^%d$') or '5'
  return job[1] == 'pending' and level == priority and job[3] == generation and id
end

-- Ready lists lose entries at their heads, so that all before one that was taken is gone, too.
local function from_lists()
  local first, place, anchor = string.match(cursor, '^(%d) (%d+) (.*)$')
  local from = 0
  if first and call('LINDEX', P .. 'ready:' .. first, place) == anchor then
    from = place + 1
  elseif first then
    from = (call('LPOS', P .. 'ready:' .. first, anchor) or -1) + 1
  end
  for priority = tonumber(first or 9), 0, -1 do
    local entries = call('LRANGE', P .. 'ready:' .. priority, from, from + limit - 1)
    for _, entry in ipairs(entries) do
      local id = id_of_owned(entry, tostring(priority))
      if id then page[#page + 1] = id end
    end
    limit = limit - #entries
    if limit == 0 then
      page[1] = priority .. ' ' .. from + #entries - 1 .. ' ' .. entries[#entries]
      return
    end
    from = 0
  end
end

-- What a node holds is not much: no more than it has asked for within moments.
local function from_nodes()
  local number, name = string.match(cursor, '^(%d+) (.*)$')
  local nodes = call('ZRANGE', P .. 'holders', 0, -1)
  table.sort(nodes, function(a, b) return after(b, a) end)
  for _, node in ipairs(nodes) do
    local held, rows = call('HGETALL', P .. 'active:' .. node), {}
    for i = 1, #held, 2 do
      local own = sound(held[i])
      if own and (not name or after(node, name) or node == name and own > tonumber(number)) then
        rows[#rows + 1] = { own, held[i + 1], held[i] }
      end
    end
    table.sort(rows, function(a, b) return a[1] < b[1] end)
    for _, row in ipairs(rows) do
      page[#page + 1] = row[2]
      limit = limit - 1
      if limit == 0 then
        page[1] = row[3] .. ' ' .. node
        return
      end
    end
  end
end

if state == 'pending' then
  from_lists()
elseif state == 'active' then
  from_nodes()
else
  from_set(P .. (INDEX[state] or 'done'), state == 'failed' or not INDEX[state])
end
return page
