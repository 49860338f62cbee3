-- KEYS  1 of every id its caller · 2 all ids in their order
-- ARGV  1 id · 2 caller
-- returns  the caller whose key has this id
--
-- A script, because an id that is taken must not be entered again.

redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return redis.call('HGET', KEYS[1], ARGV[1])
