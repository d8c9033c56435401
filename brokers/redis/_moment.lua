-- In front of scripts of the namespace.
-- KEYS[1]  {namespace}:skew
local call = redis.call
local time = call('TIME')
-- Milliseconds; with a fraction, so that what happens in order sorts in order.
local now = time[1] * 1000 + time[2] / 1000 + (call('GET', KEYS[1]) or 0)
