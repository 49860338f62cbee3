-- $1 ids · $2 digests · $3 records · $4 versions · $5 when they were last used
--
-- Gives the ids that were free; what makes another one not so is asked for after.
INSERT INTO @.keys (id, digest, record, version, last_used)
SELECT id, digest, record::json, version, last_used
FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bigint[], $5::bigint[])
  AS new (id, digest, record, version, last_used)
ORDER BY id
ON CONFLICT DO NOTHING
RETURNING id
