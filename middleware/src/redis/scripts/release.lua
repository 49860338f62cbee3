-- KEYS  1 record · 2 the caller's index · 3 the store's index, if it has one
-- ARGV  1 token · 2 key
--
-- A script, because it deletes only under the token it has compared (Record::releases).

local held = redis.call('HMGET', KEYS[1], 't', 's')
if held[1] ~= ARGV[1] or held[2] ~= 'c' then return 0 end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[2])
if KEYS[3] then redis.call('ZREM', KEYS[3], KEYS[1]) end
return 1
