-- KEYS  1 record · 2 the caller's index · 3 the store's index, if it has one
-- ARGV  1 offset · 2 token · 3 key · 4 lease in milliseconds
--
-- A script, because it writes only under the token it has compared (Record::renew).

local held = redis.call('HMGET', KEYS[1], 't', 's', 'l', 'x')
local moment, lease = now(ARGV[1]), tonumber(ARGV[4])
if held[1] ~= ARGV[2] or held[2] ~= 'c' then return 0 end
local ends, expires = tonumber(held[3]), tonumber(held[4])
if not lease_left(ends, lease, moment) then return 0 end
-- What is left for the record to be kept after a lapse moves along.
expires = expires + math.max(moment + lease - ends, 0)
redis.call('HSET', KEYS[1], 'l', moment + lease, 'x', expires)
date(KEYS[1], { KEYS[2], KEYS[3] }, { ARGV[3], KEYS[1] }, expires, moment)
return 1
