-- KEYS and ARGV as those of claim.lua
-- returns  {what claim.lua would, how many milliseconds the record is kept yet or -1}
--
-- A script, because it is judged by the same rules as a claim.

local moment = now(ARGV[1])
local left = (tonumber(redis.call('HGET', KEYS[1], 'x')) or 0) - moment
local told = decide(KEYS[1], { KEYS[2], KEYS[3] }, moment, attempt_at(2))
return { told, left > 0 and left or -1 }
