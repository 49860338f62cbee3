-- $1 id
SELECT record::text AS record, version, last_used FROM @.keys WHERE id = $1
