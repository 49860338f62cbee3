-- $1 caller · $2 key
--
-- What is to be judged stays as it is until the transaction ends.
SELECT state, fingerprint, token, original, lease_ends, expires, response
FROM @.records WHERE caller = $1 AND key = $2 FOR UPDATE
