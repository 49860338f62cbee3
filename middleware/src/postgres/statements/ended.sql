-- $1 caller · $2 key · $3 token
--
-- Whether this owner has ended it before: a repetition is a success and changes nothing.
SELECT FROM @.records WHERE caller = $1 AND key = $2 AND token = $3 AND state <> 1
