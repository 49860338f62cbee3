-- $1 offset · $2 caller · $3 key · $4 token · $5 lease and $6 skew in milliseconds
--
-- By the rules of Record::renew: what has lapsed is not revived, and what is left for the
-- record to be kept after a lapse moves along.
WITH moment AS MATERIALIZED (
  SELECT NOW + $1 AS now
)
UPDATE @.records
SET lease_ends = now + $5, expires = expires + greatest(now + $5 - lease_ends, 0)
FROM moment
WHERE caller = $2 AND key = $3 AND token = $4 AND state = 1
  AND lease_ends > now AND lease_ends <= now + $5 + $6
