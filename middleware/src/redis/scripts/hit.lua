-- KEYS  1 counter
-- ARGV  1 offset · 2 limit · 3 window in microseconds · 4 burst or -1
--
-- A script, because what is counted depends on what was: two processes that read first
-- and wrote then would let more pass than one.

return judge(KEYS[1], now(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]))
