#!lua flags=no-writes
-- A slice of the records of a kind, by id.
-- KEYS[1]  {namespace}:skew
-- KEYS[2]  {namespace}:records:KIND
-- KEYS[3]  {namespace}:ids:KIND
-- KEYS[4]  {namespace}:lapsing:KIND
-- ARGV[1]  the id to begin with; nothing: the first
-- ARGV[2]  how many at most
-- Returns  [the id with which the next slice begins (nothing: there is none), and of each record: id,
--          value]; those that have lapsed are left out
-- include: _moment
local start, limit = ARGV[1] == '' and '-' or '[' .. ARGV[1], tonumber(ARGV[2])
local ids = call('ZRANGEBYLEX', KEYS[3], start, '+', 'LIMIT', 0, limit + 1)
local answer = { ids[limit + 1] or '' }
for i = 1, math.min(limit, #ids) do
  local lapses = call('ZSCORE', KEYS[4], ids[i])
  local value = call('HGET', KEYS[2], ids[i])
  if value and (not lapses or tonumber(lapses) > now) then
    answer[#answer + 1] = ids[i]
    answer[#answer + 1] = value
  end
end
return answer
