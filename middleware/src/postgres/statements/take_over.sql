-- $1 caller · $2 key · $3 to $5 token, state and expiry of what was judged
-- $6 fingerprint · $7 token · $8 original · $9 end of the lease · $10 expiry
--
-- Enters a claim in the place of a record that nobody has touched since it was judged.
UPDATE @.records
SET fingerprint = $6, token = $7, original = $8, state = 1, lease_ends = $9, expires = $10, response = NULL
WHERE caller = $1 AND key = $2 AND token = $3 AND state = $4 AND expires = $5
