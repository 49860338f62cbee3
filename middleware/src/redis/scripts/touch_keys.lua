-- KEYS  1 the key records of one caller (see keys.lua)
-- ARGV  of each key: id · when it was seen, in milliseconds
--
-- A script, because the moment never moves back.

for place = 1, #ARGV, 2 do
  local id, seen = ARGV[place], ARGV[place + 1]
  local held = tonumber(redis.call('HGET', KEYS[1], 'u' .. id) or 0)
  if held < tonumber(seen) and redis.call('HEXISTS', KEYS[1], 'r' .. id) == 1 then
    redis.call('HSET', KEYS[1], 'u' .. id, seen)
  end
end
return 1
