-- In front of every script of a queue.
-- KEYS[1]  {namespace:queue}:meta; every other key of the queue is made from it
-- ARGV[1]  what stands before a mailbox's name in the name of its channel
-- ARGV[2]  the queue's name
-- ARGV[3]  ms for which the record of a job is kept that the store itself ends
local call, floor = redis.call, math.floor
-- What stands in a store may have been damaged: a number that is none, or beyond all measure, is nil.
local function sound(text)
  local found = tonumber(text or nil)
  return found and found > -1e15 and found < 1e15 and found or nil
end

-- Add to a counter; one that is no number begins anew.
local function bump(key, field, by)
  local answer = redis.pcall('HINCRBY', key, field, by)
  if type(answer) == 'table' then
    answer = math.max(by, 0)
    call('HSET', key, field, answer)
  end
  return answer
end

local P = string.sub(KEYS[1], 1, -5)
local BELL, QUEUE = ARGV[1], ARGV[2]
local meta = call('HMGET', KEYS[1], 'skew', 'last', 'since', 'flow')
local time, skew = call('TIME'), sound(meta[1]) or 0
-- Milliseconds; `now` has a fraction, so that what happens in order sorts in order.
local now = time[1] * 1000 + time[2] / 1000 + skew
local ms = floor(now)
-- A number is turned into text slowly, as slowly as some commands are run: where one is written often,
-- it is put together from what is text already.
local MS = skew == 0 and time[1] .. string.sub('00000' .. time[2], -6, -4) or string.format('%.0f', ms)
