-- decide(record, indexes, now, attempt): claims a key by the rules of Record::claim.
--
-- indexes  the caller's and, where the whole store is bounded, the store's
-- attempt  fingerprint, token, original, lease and retention in milliseconds,
--          deduplicates (1 or 0), key, share and whole (records)
-- returns  {'execute', end of the lease} | {'in progress', original, wait} |
--          {'in use' | 'not stored' | 'unknown', original} | {'replay', response} | {'full'}

local function claimed(record, indexes, now, attempt)
  local members = { attempt.key, record }
  local bounds = { attempt.share, attempt.whole }
  for place, index in ipairs(indexes) do
    if not has_room(index, members[place], bounds[place], now) then return { 'full' } end
  end
  local lease_ends = now + attempt.lease
  local expires = lease_ends + attempt.retention
  -- The first write, which a server without memory refuses: after it nothing is refused
  -- any more, and before it nothing was changed.
  redis.call('HSET', record, 'f', attempt.fingerprint, 't', attempt.token, 'o', attempt.original,
    's', 'c', 'l', lease_ends, 'x', expires)
  redis.call('HDEL', record, 'r')
  date(record, indexes, members, expires, now)
  for _, index in ipairs(indexes) do sweep(index, now, 2) end
  return { 'execute', lease_ends }
end

local function decide(record, indexes, now, attempt)
  local held = redis.call('HMGET', record, 'f', 't', 'o', 's', 'l', 'x')
  local fingerprint, token, original, state = held[1], held[2], held[3], held[4]
  if not state or tonumber(held[6]) <= now then
    return claimed(record, indexes, now, attempt)
  end
  if fingerprint ~= attempt.fingerprint then return { 'in use', original } end
  if state == 'd' then return { 'replay', redis.call('HGET', record, 'r') } end
  if state == 'n' then return { 'not stored', original } end
  if state == 'c' then
    local wait = lease_left(tonumber(held[5]), attempt.lease, now)
    -- The reply to this very claim was lost; it holds as it was made.
    if wait and token == attempt.token then return { 'execute', tonumber(held[5]) } end
    if wait then return { 'in progress', original, wait } end
  end
  -- Lapsed or unknown: an upstream that de-duplicates knows, and may be asked again.
  if attempt.deduplicates then return claimed(record, indexes, now, attempt) end
  return { 'unknown', original }
end

-- An attempt from the arguments that begin at this place.
local function attempt_at(place)
  return {
    fingerprint = ARGV[place],
    token = ARGV[place + 1],
    original = ARGV[place + 2],
    lease = tonumber(ARGV[place + 3]),
    retention = tonumber(ARGV[place + 4]),
    deduplicates = ARGV[place + 5] == '1',
    key = ARGV[place + 6],
    share = tonumber(ARGV[place + 7]),
    whole = tonumber(ARGV[place + 8]),
  }
end
