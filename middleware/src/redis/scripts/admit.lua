-- KEYS  1 counter · 2 the caller's key records · 3 record · 4 the caller's index
--       5 the store's index, if it has one
-- ARGV  1 offset · 2 limit · 3 window in microseconds · 4 burst or -1
--       5 id of the key · 6 version of its record, or '' where it is not to be compared
--       7 to 15 an attempt
--
-- A script, because it makes two steps in one round trip; it answers as hit.lua and
-- claim.lua would have, one after the other.

if ARGV[6] ~= '' and outdated(KEYS[2], ARGV[5], ARGV[6]) then return { -1 } end
local moment = now(ARGV[1])
local verdict = judge(KEYS[1], moment, tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]))
if verdict[1] == 0 then return { verdict } end
return { verdict, decide(KEYS[3], { KEYS[4], KEYS[5] }, moment, attempt_at(7)) }
