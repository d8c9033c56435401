#!lua flags=no-writes
-- Everything that is known of jobs.
-- KEYS[1]  meta
-- ARGV[4…] ids
-- Returns  for each nil (no record) or [fields and values of the job's hash, wire, result, errors
--          (newest first), fields and values of its long fields]; wire and result nil where the
--          hash has them or there is none
-- include: _clock
local answers = {}
for i = 4, #ARGV do
  local id = ARGV[i]
  local fields = call('HGETALL', P .. 'job:' .. id)
  local found = {}
  for j = 1, #fields, 2 do found[fields[j]] = fields[j + 1] end
  answers[i - 3] = found.s and found.s ~= 'gone' and {
    fields,
    not found.w and call('GET', P .. 'body:' .. id),
    found.r == '' and call('GET', P .. 'result:' .. id),
    call('LRANGE', P .. 'errors:' .. id, 0, -1),
    call('HGETALL', P .. 'more:' .. id),
  } or false
end
return answers
