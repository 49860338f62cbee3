-- A record is a hash: f fingerprint, t token, o original id, s state (c claimed, d done,
-- n not stored, u unknown), l end of the lease, x when it may be forgotten, r response.
-- Redis forgets it then by itself.
--
-- An index is a sorted set of what is held, by the same moment. It bounds how many
-- records there are: those of one caller always, those of the whole store where that is
-- wanted. It forgets what is over in bounded steps.

-- Says how many it took.
local function sweep(index, now, most)
  local over = redis.call('ZRANGE', index, '-inf', now, 'BYSCORE', 'LIMIT', 0, most)
  if #over > 0 then redis.call('ZREM', index, unpack(over)) end
  return #over
end

local function has_room(index, member, most, now)
  local held = redis.call('ZCARD', index)
  if held < most or redis.call('ZSCORE', index, member) then return true end
  return held - sweep(index, now, 64) < most
end

local function enter(index, member, expires, kept)
  redis.call('ZADD', index, expires, member)
  if redis.call('PTTL', index) < kept then redis.call('PEXPIRE', index, kept) end
end

-- Has a record kept for so many milliseconds, at all its places.
local function date(record, indexes, members, expires, now)
  local kept = math.max(expires - now, 0) + SKEW
  redis.call('PEXPIRE', record, kept)
  for place, index in ipairs(indexes) do enter(index, members[place], expires, kept) end
end

-- How long a lease still runs. One that ends further ahead than a lease can be was
-- written under another clock, and has lapsed.
local function lease_left(ends, lease, now)
  local left = ends - now
  return left > 0 and left <= lease + SKEW and left or nil
end
