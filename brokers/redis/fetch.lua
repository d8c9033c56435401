#!lua flags=allow-oom
-- Deliver ready jobs to a node, the most urgent first.
-- KEYS[1]  meta
-- ARGV[4]  node
-- ARGV[5]  number of the first delivery
-- ARGV[6]  how many jobs at most; 0: only step off the list of idle nodes
-- ARGV[7]  how many deliveries can start at once: those beyond are of jobs that no limit concerns;
--          empty: all of them
-- ARGV[8]  1: while it is idle the node may be given one job more, with the last of these numbers, through
--          a bell (see enqueue)
-- ARGV[9…] keys under which parked jobs are taken too, before the ready ones
-- Returns  -1: the queue does not know the node; else [jobs that could be had now, 1 if some were
--          withheld because they would not start at once, ms after which more can be had where this
--          call has closed a gate (-1: it has not), and for each delivery id, number, wire (or its parts),
--          more], where `more` is nil for a job that has nothing but defaults, or
--          [attempts, failures, crashes, losses, expires in ms, deadline in ms, 1 for a suspect],
--          nil where none
-- include: _clock _move _wire
local node, first, limit = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local LOOKS = limit + 5000 -- entries looked at in one call; left-overs of jobs that have gone count too
local ACTIVE = P .. 'active:' .. node
local SLOTS = tonumber(ARGV[7]) or math.huge
local LIMITED = meta[4] -- there are limits, pauses or gates: as FLOW below
-- Those behind a gate may all wait for another limit by now, and for the first again soon after: so many
-- of them are moved at a time, and more after so many ms.
local MOST_MOVED, MOVES_AGAIN, moved = 50, 100, {}
local LOOKS_OF_PARKING = 10 -- what it costs to park a job, in entries looked at
local reply, taken, looked = { 0, 0, -1 }, {}, 0
local asked, withheld, opens, next_gate, gate_level = limit, false, nil, nil, -1
local levels = {} -- priorities of the first jobs behind gates, by their keys

local score = call('ZSCORE', P .. 'holders', node)
if not score or tonumber(score) == 0 then return -1 end

local ready = call('HMGET', P .. 'stats', 'p9', 'p8', 'p7', 'p6', 'p5', 'p4', 'p3', 'p2', 'p1', 'p0')
local left = 0
for i = 1, 10 do
  ready[i] = sound(ready[i]) or 0
  left = left + ready[i]
end

local function answer(id, job, number)
  local more = false
  if job.e or job.d or job.n or job.f or job.x or job.l or job.a then
    more = { job.n or false, job.f or false, job.x or false, job.l or false,
      job.e and job.e - ms or false, job.d and job.d - ms or false, job.a or false }
  end
  local at = #reply
  reply[at + 1] = id
  reply[at + 2] = tonumber(number)
  reply[at + 3] = not job.damaged and (job.wire or wire_of(id, job)) or ''
  reply[at + 4] = more
end

local function deliver(id, job)
  local number = to_text(first + #taken / 2)
  call('HSET', P .. 'job:' .. id, 's', 'active', 'o', '+' .. number .. ':' .. node)
  if job.e then call('ZREM', P .. 'expiring', id) end
  if job.o then call('HDEL', P .. 'job:' .. id, 'b', 'i', 'g', 'A') end -- of an earlier delivery
  taken[#taken + 1] = number
  taken[#taken + 1] = id
  answer(id, job, number)
end

local function wants_more()
  return #taken / 2 < limit and looked < LOOKS and not withheld
end

local take -- below

-- What few calls need: limits, jobs that are late, answers that were lost. A server makes the functions of
-- a script anew whenever it runs, which takes as long as to deliver a few jobs: these only where needed.
local rare
local function rarely()
  if rare then return rare end
-- here: _move _wire _gates _limits
  -- A job that is too late. True: it has been settled.
  local function settle_late(id, job, parked_under)
    local state, reason
    if job.e and tonumber(job.e) <= now then
      state = 'expired'
    elseif job.d and tonumber(job.d) <= now then
      state, reason = 'failed', 'deadline'
    else
      return false
    end
    if parked_under then unpark(id, parked_under) end
    if job.e then call('ZREM', P .. 'expiring', id) end
    finish(id, state, job, KEEP, reason)
    return true
  end

  -- How urgent the first job behind a gate is; -1: there is none.
  local function level_behind(key)
    if not levels[key] then
      local rank = tonumber(first_behind(key)[2])
      levels[key] = rank and 9 - floor(rank / BAND / 2) or -1
    end
    return levels[key]
  end

  -- Take all that a job needs to be delivered. Else: `withheld`, or why it must wait, as `refusal`;
  -- without a time where others wait for the same, who come first.
  local function admit(id, job, is_first)
    if not FLOW and not job.L then return end
    local what = concerns(id, job)
    local key, ends = refusal(what)
    if key then return key, ends end
    local gate = what.rate and not is_first and 'limit:rate:' .. what.rate_bucket
    if gate and level_behind(gate) >= tonumber(job.p or '5') then return gate end
    if not what.rate and not what.most then return end
    if #taken / 2 >= SLOTS then
      withheld = true
      return 'withheld'
    end
    take_grants(id, what)
  end

  -- A ready job waits behind a gate from now on.
  local function park(id, job, key, ends)
    local rank = rank_of(job)
    call('HSET', P .. 'job:' .. id, 's', 'waiting')
    put(id, 'y', key)
    call('ZADD', P .. 'parked:' .. key, rank, id)
    bump(P .. 'parked', key, 1)
    call('ZADD', P .. 'parking', NEVER, id)
    count('waiting', 1)
    looked = looked + LOOKS_OF_PARKING
    levels[key] = math.max(level_behind(key), tonumber(job.p or '5'))
    if ends then set_gate(key, ends) end
  end

  -- The first job behind an open gate, if it is at least so urgent. False: none is.
  local function take_first(key, level)
    local first = first_behind(key)
    local id, rank = first[1], tonumber(first[2])
    if not id then
      open_gate(key) -- it goes
      return true
    end
    gate_level = 9 - floor(rank / BAND / 2)
    if gate_level < level then return false end
    local job = read(id)
    levels[key] = nil
    looked = looked + LOOKS_OF_PARKING
    if job.s ~= 'waiting' then
      forget_parked(id, key) -- left by a hand that went around the scripts
      return true
    end
    local is_late = settle_late(id, job, key)
    local refused, ends
    if not is_late then refused, ends = admit(id, job, true) end
    if refused == 'withheld' then return false end
    if not is_late and not refused then
      unpark(id, key)
      deliver(id, job)
    elseif refused and refused ~= key then
      forget_parked(id, key)
      put(id, 'y', refused)
      call('ZADD', P .. 'parked:' .. refused, rank, id)
      bump(P .. 'parked', refused, 1)
      levels[refused] = nil
      moved[key] = (moved[key] or 0) + 1
    end
    if refused then set_gate(refused, ends) end
    if refused ~= key then open_gate(key) end
    if moved[key] == MOST_MOVED then set_gate(key, now + MOVES_AGAIN) end
    return true
  end

  -- Ready jobs at the head that were delivered before: they came back, and are older than those who waited
  -- for their places.
  local function drain_returned(priority)
    local list = P .. 'ready:' .. priority
    while wants_more() do
      local entry = call('LINDEX', list, 0)
      local id = entry and string.match(entry, '^[^%z]*')
      if not id or not call('HGET', P .. 'job:' .. id, 'o') then return end
      call('LPOP', list)
      looked = looked + 1
      if take(entry, priority) == false then return call('LPUSH', list, entry) end
    end
  end

  -- Those behind gates that are at least so urgent: a gate whose time has come is opened first, and then
  -- has its place among the open ones.
  local function drain_gates(level)
    while wants_more() do
      local gate = call('ZRANGEBYSCORE', P .. 'gates', '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1)
      if not gate[1] then
        gate_level = -1
        gates_moved = true
        return
      end
      if tonumber(gate[2]) >= 0 and first_behind(gate[1])[1] then
        set_gate(gate[1], OPEN + first_behind(gate[1])[2])
      elseif not take_first(gate[1], level) then
        return
      end
    end
  end

  local function take_parked(key)
    if is_limit(key) then return end
    for _, id in ipairs(call('ZRANGE', P .. 'parked:' .. key, 0, limit - #taken / 2 - 1)) do
      local job = read(id)
      if job.s ~= 'waiting' then
        forget_parked(id, key) -- left by a hand that went around the scripts
      elseif not settle_late(id, job, key) then
        local refused, ends = admit(id, job)
        if refused == 'withheld' then return end
        unpark(id, key)
        if refused then
          park(id, job, refused, ends)
        else
          deliver(id, job)
        end
      end
    end
  end

  -- Count deliveries against the rate of the whole queue.
  local function use_up(starts)
    local rate = opens and numbers('s:queue')
    if not rate or not rate[2] or rate[2] == -1 then return end
    use('queue', rate, starts)
    if opens ~= NEVER then opens = opens_at('queue', rate) end
  end

  -- What could be had now besides the ready jobs; nothing while the limits of the whole queue hold: then
  -- a gate without jobs says when.
  local function close_up()
    if not FLOW and not gates_moved then return end
    local behind = 0
    if gates_moved or next_gate and next_gate <= now then
      behind = call('ZCOUNT', P .. 'gates', '-inf', now)
    end
    left = math.max(left, 0) + behind
    if opens and limit < asked and #taken / 2 >= limit then
      if left > 0 and opens ~= NEVER then set_gate('limit:queue', opens) end
      left = 0
    end
    if gates_moved then
      local gate = call('ZRANGEBYSCORE', P .. 'gates', now, '(' .. NEVER, 'WITHSCORES', 'LIMIT', 0, 1)
      if gate[2] then reply[3] = math.ceil(gate[2] - now) end
    end
    flush_gates()
  end

  -- The answer to this call was lost: give it again.
  local function repeat_answer()
    for from = 0, limit - 1, SLICE do
      local numbers = {}
      for i = from, math.min(from + SLICE, limit) - 1 do numbers[#numbers + 1] = string.format('%.0f', first + i) end
      for i, id in ipairs(call('HMGET', ACTIVE, unpack(numbers))) do
        local job = id and read(id)
        if job and job.s == 'active' and job.o == '+' .. numbers[i] .. ':' .. node then
          answer(id, job, numbers[i])
        end
      end
    end
  end

  rare = {
    settle_late = settle_late, admit = admit, park = park, take_parked = take_parked, permitted = permitted,
    setting = setting, drain_returned = drain_returned, drain_gates = drain_gates, use_up = use_up,
    close_up = close_up, repeat_answer = repeat_answer,
  }
  return rare
-- end
end

-- One entry of a ready list; it counts only if the job says that it is its own. False: it must stay.
function take(entry, priority)
  local id, generation = entry, nil
  local mark = string.find(entry, '\0', 1, true)
  if mark then id, generation = string.sub(entry, 1, mark - 1), string.sub(entry, mark + 1) end
  local job = read(id)
  if job.s ~= 'pending' or (job.p or '5') ~= priority or job.q ~= generation then return end
  local is_late = (job.e or job.d) and rarely().settle_late(id, job)
  local key, ends
  if not is_late and (LIMITED or job.L) then key, ends = rarely().admit(id, job) end
  if key == 'withheld' then return false end
  count('p' .. priority, -1)
  left = left - 1
  if key then
    rarely().park(id, job, key, ends)
  elseif not is_late then
    deliver(id, job)
  end
end

-- Put back what was taken out of a ready list and not looked at.
local function put_back(priority, entries, from)
  for i = #entries, from, -1 do call('LPUSH', P .. 'ready:' .. priority, entries[i]) end
end

local function drain(priority)
  while wants_more() do
    local most = math.min(limit - #taken / 2, SLICE)
    local entries = call('LPOP', P .. 'ready:' .. priority, most)
    if not entries then return end
    looked = looked + #entries
    for i, entry in ipairs(entries) do
      if take(entry, priority) == false then return put_back(priority, entries, i) end
    end
    if #entries < most then return end -- the list is empty
  end
end

local last = limit > 0 and call('HGET', ACTIVE, 'last')
local is_repeat = last and first <= (sound(last) or 0)
if is_repeat then
  rarely().repeat_answer()
elseif limit == 0 and LIMITED then
  next_gate = sound(call('HGET', P .. 'limits', 'next') or nil)
  if next_gate and next_gate <= now then left = left + 1 end
elseif limit > 0 then
  if LIMITED then
    limit, opens = rarely().permitted(limit)
    next_gate = sound(rarely().setting('next') or nil)
    if next_gate and next_gate <= now then gate_level = 9 end
  end
  for i = 9, #ARGV do
    if wants_more() then rarely().take_parked(ARGV[i]) end
  end
  for i = 1, 10 do
    if gate_level >= 10 - i then
      if ready[i] > 0 then rarely().drain_returned(tostring(10 - i)) end
      rarely().drain_gates(10 - i)
    end
    if ready[i] > 0 then drain(tostring(10 - i)) end
  end
  if #taken == 0 and wants_more() and has_ready() then
    for i = 1, 10 do drain(tostring(10 - i)) end
  end
  if wants_more() then left = 0 end -- there is nothing, whatever they say
  for i = 1, #taken, SLICE do
    local upto = math.min(i + SLICE - 1, #taken)
    call('HSET', ACTIVE, 'last', taken[upto - 1], unpack(taken, i, upto))
  end
  if #taken > 0 then
    count('active', #taken / 2)
    if opens then rarely().use_up(#taken / 2) end
  end
  if rare then rare.close_up() end
  flush()
end

if #reply - 3 < 4 * asked and left <= 0 then
  call('SADD', P .. 'idle', node)
  -- Not in a repeated call: its last number may have been used.
  if ARGV[8] == '1' and limit > 0 and not is_repeat then
    call('HSET', P .. 'hands', node, to_text(first + asked - 1))
  else
    call('HDEL', P .. 'hands', node)
  end
else
  call('SREM', P .. 'idle', node)
  if left > 0 then ring_ready() end
  -- Stopped among left-overs: come again.
  if looked >= LOOKS and limit > 0 then call('PUBLISH', BELL .. node, '0 ' .. QUEUE) end
end
reply[1] = left
reply[2] = withheld and 1 or 0
return reply
