-- $1 digests
SELECT id, digest FROM @.keys WHERE digest = ANY ($1)
