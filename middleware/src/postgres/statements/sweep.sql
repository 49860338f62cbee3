-- $1 offset · $2 most
--
-- Forgets what is over, and waits for nobody.
DELETE FROM @.records WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM @.records
  WHERE expires <= (SELECT NOW + $1)
  ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED))
