-- Lets the steps below read and nothing else, so that they answer what they would have
-- answered had they been taken. The server refuses a write here, should one get through.

local server = redis
local READS = {
  GET = true, HGET = true, HMGET = true, PTTL = true, TIME = true, ZCARD = true, ZRANGE = true,
  ZSCORE = true,
}

local redis = {
  call = function(command, ...)
    if READS[command] then return server.call(command, ...) end
  end,
}
