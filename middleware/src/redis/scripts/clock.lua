-- now(offset): milliseconds since the Unix epoch by this server's clock, which every
-- process that shares it shares too. The offset, in microseconds, is 0 outside of tests.

-- How far a clock may step back without anything being taken for a jump, in milliseconds.
local SKEW = 1000

local function now(offset)
  local time = redis.call('TIME')
  return math.floor((time[1] * 1000000 + time[2] + offset) / 1000)
end
