-- A job's message, which may be in parts: see wires.py. Needs _clock and _move.

-- A wire, or its parts in their order; nil where it is gone.
local function wire_of(id, job)
  local head = job.w or call('GET', P .. 'body:' .. id)
  if not head then return nil end
  return job['1'] and { head, job['1'], job['2'] } or head
end

local function whole(wire)
  return type(wire) == 'table' and table.concat(wire) or wire
end

-- Put a wire, or its parts, where the record has none. What goes to the record is added to the fields that
-- it is to get.
local function put_wire(id, wire, fields)
  local head, parts = wire, 1
  if type(wire) == 'table' then head, parts = wire[1], #wire end
  if #head <= LONGEST then
    fields[#fields + 1] = 'w'; fields[#fields + 1] = head
  else
    call('SET', P .. 'body:' .. id, head)
  end
  for i = 2, parts do
    fields[#fields + 1] = string.char(47 + i); fields[#fields + 1] = wire[i]
  end
end

local function drop_wire(id)
  call('HDEL', P .. 'job:' .. id, 'w', '1', '2')
  call('UNLINK', P .. 'body:' .. id)
end
