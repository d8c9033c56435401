#!lua
-- Put other bytes in the place of what records hold: all of a record in one step, and only where it
-- still holds what it is said to.
-- KEYS[1]  meta
-- ARGV[4]  packed rows: [queue, id, before, after], the latter two [wire (or its parts), progress,
--          result, errors]
-- Returns  for each 1 (it holds `after`, now or before), 0 (it holds something else), -1 (no record)
-- include: _clock _move _wire
local WIRE, PROGRESS, RESULT, ERRORS = 1, 2, 3, 4
local answers = {}

local function contents(id, job)
  return {
    whole(wire_of(id, job) or ''),
    job.g and long(id, 'g', job.g) or '',
    job.r == '' and call('GET', P .. 'result:' .. id) or job.r or '',
    call('LRANGE', P .. 'errors:' .. id, 0, -1),
  }
end

local function is_same(found, wanted)
  if found[WIRE] ~= whole(wanted[WIRE]) then return false end
  for i = PROGRESS, RESULT do
    if found[i] ~= (wanted[i] or '') then return false end
  end
  if #found[ERRORS] ~= #wanted[ERRORS] then return false end
  for i, error in ipairs(wanted[ERRORS]) do
    if found[ERRORS][i] ~= error then return false end
  end
  return true
end

local function replace_wire(id, wire)
  local fields = {}
  drop_wire(id)
  put_wire(id, wire, fields)
  if fields[1] then call('HSET', P .. 'job:' .. id, unpack(fields)) end
end

local function put_result(id, value)
  if #value > LONGEST or #value == 0 then
    call('SET', P .. 'result:' .. id, value)
    value = ''
  else
    call('UNLINK', P .. 'result:' .. id)
  end
  call('HSET', P .. 'job:' .. id, 'r', value)
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
  local job = read(id)
  if not job.s or job.s == 'gone' then return -1 end
  local found = contents(id, job)
  if is_same(found, after) then return 1 end
  if not is_same(found, before) then return 0 end
  replace_wire(id, after[WIRE])
  if after[PROGRESS] then put_progress(id, after[PROGRESS]) end
  if after[RESULT] then put_result(id, after[RESULT]) end
  put_errors(id, after[ERRORS])
  return 1
end

for i, row in ipairs(cmsgpack.unpack(ARGV[4])) do answers[i] = rewrite(row[2], row[3], row[4]) end
return answers
