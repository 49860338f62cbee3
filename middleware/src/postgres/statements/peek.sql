-- $1 offset · $2 caller · $3 key · $4 share · $5 whole
--
-- What a claim would come upon; it is not made, and nothing is swept. Counted is what is
-- not over, for a claim that has no room would sweep the rest.
WITH moment AS MATERIALIZED (
  SELECT NOW + $1 AS now
)
SELECT now, NULL::bigint AS made,
  (SELECT count(*) FROM (SELECT FROM @.records WHERE caller = $2 AND expires > now LIMIT $4) own) AS own,
  (SELECT count(*) FROM (SELECT FROM @.records WHERE expires > now LIMIT $5) whole) AS whole,
  held.fingerprint, held.token, held.original, held.state, held.lease_ends, held.expires, held.response
FROM moment LEFT JOIN @.records held ON held.caller = $2 AND held.key = $3
