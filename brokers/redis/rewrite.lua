#!lua
-- Put other bytes in the place of what records hold: all of a record in one step, and only where it
-- still holds what it is said to.
-- KEYS[1]  meta
-- ARGV[4]  packed rows: [queue, id, before, after], the latter two [wire, progress, result, errors]
-- Returns  for each 1 (it holds `after`, now or before), 0 (it holds something else), -1 (no record)
-- include: _clock _move
local WIRE, PROGRESS, RESULT, ERRORS = 1, 2, 3, 4
local answers = {}

local function contents(id, job)
  return {
    job[2] or call('GET', P .. 'body:' .. id) or '',
    job[3] and long(id, 'g', job[3]) or '',
    job[4] == '' and call('GET', P .. 'result:' .. id) or job[4] or '',
    call('LRANGE', P .. 'errors:' .. id, 0, -1),
  }
end

local function is_same(found, wanted)
  for i = WIRE, RESULT do
    if found[i] ~= (wanted[i] or '') then return false end
  end
  if #found[ERRORS] ~= #wanted[ERRORS] then return false end
  for i, error in ipairs(wanted[ERRORS]) do
    if found[ERRORS][i] ~= error then return false end
  end
  return true
end

local function put_apart(id, field, apart, value, mark)
  if #value > LONGEST then
    call('SET', P .. apart .. id, value)
    if mark then call('HSET', P .. 'job:' .. id, field, '') else call('HDEL', P .. 'job:' .. id, field) end
  else
    call('UNLINK', P .. apart .. id)
    call('HSET', P .. 'job:' .. id, field, value)
  end
end

local function put_progress(id, value)
  if #value <= LONGEST then call('HDEL', P .. 'more:' .. id, 'g') end
  put(id, 'g', value)
end

local function put_errors(id, errors)
  call('UNLINK', P .. 'errors:' .. id)
  if #errors > 0 then call('RPUSH', P .. 'errors:' .. id, unpack(errors)) end
end

local function rewrite(id, before, after)
  local job = call('HMGET', P .. 'job:' .. id, 's', 'w', 'g', 'r')
  if not job[1] or job[1] == 'gone' then return -1 end
  local found = contents(id, job)
  if is_same(found, after) then return 1 end
  if not is_same(found, before) then return 0 end
  put_apart(id, 'w', 'body:', after[WIRE], false)
  if after[PROGRESS] then put_progress(id, after[PROGRESS]) end
  if after[RESULT] then put_apart(id, 'r', 'result:', after[RESULT], true) end
  put_errors(id, after[ERRORS])
  return 1
end

for i, row in ipairs(cmsgpack.unpack(ARGV[4])) do answers[i] = rewrite(row[2], row[3], row[4]) end
return answers
