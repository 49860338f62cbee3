-- $1 ids · $2 moments
--
-- The rows are locked in one order, and an id that comes twice is written once.
WITH used AS (
  SELECT id, max(at) AS at FROM unnest($1::text[], $2::bigint[]) AS used (id, at) GROUP BY id
), held AS (
  SELECT id FROM @.keys WHERE id IN (SELECT id FROM used) ORDER BY id FOR UPDATE
)
UPDATE @.keys SET last_used = used.at
FROM used JOIN held USING (id)
WHERE keys.id = used.id AND (keys.last_used IS NULL OR keys.last_used < used.at)
