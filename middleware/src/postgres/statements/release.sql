-- $1 caller · $2 key · $3 token
--
-- By the rules of Record::releases.
DELETE FROM @.records WHERE caller = $1 AND key = $2 AND token = $3 AND state = 1
