-- $1 digest
SELECT record::text AS record, version, last_used FROM @.keys WHERE digest = $1
