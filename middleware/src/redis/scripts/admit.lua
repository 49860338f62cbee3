-- KEYS  1 counter · 2 record · 3 the caller's index · 4 the store's index, if it has one
-- ARGV  1 offset · 2 limit · 3 window in microseconds · 4 burst or -1 · 5 to 13 an attempt
--
-- A script, because it makes two steps in one round trip; it answers as hit.lua and
-- claim.lua would have, one after the other.

local moment = now(ARGV[1])
local verdict = judge(KEYS[1], moment, tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]))
if verdict[1] == 0 then return { verdict } end
return { verdict, decide(KEYS[2], { KEYS[3], KEYS[4] }, moment, attempt_at(5)) }
