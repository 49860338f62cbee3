-- The key records of a caller are one hash: of the key ID the field vID holds the version,
-- rID the record as JSON, uID when it was last seen, in milliseconds.

-- Whether a request was judged by another version of its key's record than is held. A
-- record that is not here is another store's business.
local function outdated(keys, id, version)
  local held = keys and redis.call('HGET', keys, 'v' .. id)
  return held and held ~= version
end
