-- $1 offset · $2 caller · $3 key · $4 fingerprint · $5 token · $6 original
-- $7 lease and $8 retention in milliseconds · $9 whether to count · $10 whether there is room
-- $11 share · $12 whole
--
-- Enters a claim where the key is free, and says what is held under it where it is not:
-- one statement, because of two who find a key free only one may be told to execute.
-- One row; no claim and nothing held means that there is no room, or that another claim
-- was committed after this statement began.
WITH moment AS MATERIALIZED (
  SELECT NOW + $1 AS now
), counted AS MATERIALIZED (
  SELECT
    CASE WHEN $9 THEN (SELECT count(*) FROM (SELECT FROM @.records WHERE caller = $2 LIMIT $11) own) ELSE 0 END AS own,
    CASE WHEN $9 THEN (SELECT count(*) FROM (SELECT FROM @.records LIMIT $12) whole) ELSE 0 END AS whole
), made AS (
  INSERT INTO @.records (caller, key, fingerprint, token, original, state, lease_ends, expires)
  SELECT $2, $3, $4, $5, $6, 1, now + $7, now + $7 + $8
  FROM moment, counted
  WHERE $10 OR $9 AND own < $11 AND ($12 = 0 OR whole < $12)
  ON CONFLICT (caller, key) DO NOTHING
  RETURNING lease_ends
), swept AS (
  -- A claim makes room for itself and for one more, so the table shrinks after a peak.
  DELETE FROM @.records WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM @.records
    WHERE expires <= (SELECT now FROM moment) AND EXISTS (SELECT FROM made)
    ORDER BY expires LIMIT 2 FOR UPDATE SKIP LOCKED))
)
SELECT now, own, whole, made.lease_ends AS made,
  held.fingerprint, held.token, held.original, held.state, held.lease_ends, held.expires, held.response
FROM moment CROSS JOIN counted LEFT JOIN made ON true
LEFT JOIN @.records held ON held.caller = $2 AND held.key = $3
