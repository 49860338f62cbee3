-- KEYS  1 record · 2 the caller's index · 3 the store's index, if it has one
-- ARGV  1 offset · 2 to 10 an attempt (see decide.lua)
--
-- A script, because of two who find a key free only one may be told to execute.

return decide(KEYS[1], { KEYS[2], KEYS[3] }, now(ARGV[1]), attempt_at(2))
