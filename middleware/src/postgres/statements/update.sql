-- $1 ids · $2 records · $3 versions · $4 when they were last used
--
-- A record keeps its digest, and a moment never moves back.
UPDATE @.keys
SET record = new.record::json, version = new.version, last_used = greatest(keys.last_used, new.last_used)
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS new (id, record, version, last_used)
WHERE keys.id = new.id
