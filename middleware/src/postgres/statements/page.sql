-- $1 the id before the first · $2 most
SELECT record::text AS record, version, last_used FROM @.keys WHERE id > $1 ORDER BY id LIMIT $2
