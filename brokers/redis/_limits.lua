-- Where limits will be taken and given back; nothing is limited yet.

-- May this ready job be delivered now?
local function admit(id)
  return true
end

-- A delivery of this job is over.
local function release(id)
end
