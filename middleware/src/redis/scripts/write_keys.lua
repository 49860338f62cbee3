-- KEYS  1 the key records of one caller (see keys.lua)
-- ARGV  of each change: id · version that it replaces, or '' · version · record as JSON
-- returns  '' or the id of a record that is neither what it was nor what it shall be
--
-- A script, because the records of a rotation change together, and only from the state
-- that they were made from (KeyChange::judge).

for place = 1, #ARGV, 4 do
  local held = redis.call('HGET', KEYS[1], 'v' .. ARGV[place]) or ''
  if held ~= ARGV[place + 1] and held ~= ARGV[place + 2] then return ARGV[place] end
end
for place = 1, #ARGV, 4 do
  redis.call('HSET', KEYS[1], 'v' .. ARGV[place], ARGV[place + 2], 'r' .. ARGV[place], ARGV[place + 3])
end
return ''
