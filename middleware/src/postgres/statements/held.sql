-- $1 ids
--
-- What is to be judged stays as it is until the transaction ends; in one order, so that
-- two who write the same keys do not wait for each other.
SELECT record::text AS record, version, last_used FROM @.keys WHERE id = ANY ($1) ORDER BY id FOR UPDATE
