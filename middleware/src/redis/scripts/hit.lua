-- KEYS  1 counter · 2 the caller's key records, where the record is to be compared
-- ARGV  1 offset · 2 limit · 3 window in microseconds · 4 burst or -1
--       5 id of the key · 6 version of its record, both where KEYS[2] is
-- returns  see judge.lua, or -1: the record is another one, and nothing was charged
--
-- A script, because what is counted depends on what was: two processes that read first
-- and wrote then would let more pass than one.

if outdated(KEYS[2], ARGV[5], ARGV[6]) then return -1 end
return judge(KEYS[1], now(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]))
