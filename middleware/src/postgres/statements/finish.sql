-- $1 offset · $2 caller · $3 key · $4 token · $5 retention in milliseconds · $6 state · $7 response
--
-- By the rules of Record::finish: only a claim ends, and only under its token.
WITH moment AS MATERIALIZED (
  SELECT NOW + $1 AS now
)
UPDATE @.records
SET state = $6, response = $7, expires = now + $5
FROM moment
WHERE caller = $2 AND key = $3 AND token = $4 AND state = 1
