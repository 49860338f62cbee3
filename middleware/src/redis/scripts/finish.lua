-- KEYS  1 record · 2 the caller's index · 3 the store's index, if it has one
-- ARGV  1 offset · 2 token · 3 key · 4 retention in milliseconds · 5 state (d, n or u)
--       6 response, if the state is d
--
-- A script, because it writes only under the token it has compared (Record::finish).

local held = redis.call('HMGET', KEYS[1], 't', 's')
if held[1] ~= ARGV[2] then return 0 end
-- A repetition is a success and changes nothing.
if held[2] ~= 'c' then return 1 end
local moment = now(ARGV[1])
local expires = moment + ARGV[4]
redis.call('HSET', KEYS[1], 's', ARGV[5], 'x', expires, 'r', ARGV[6] or '')
date(KEYS[1], { KEYS[2], KEYS[3] }, { ARGV[3], KEYS[1] }, expires, moment)
return 1
