-- No two indexes begin with the same column: a planner that knows nothing of a table's size
-- takes either, and then reads every customer of a number to find one.

ALTER TABLE alias DROP CONSTRAINT alias_pkey;
ALTER TABLE alias ADD PRIMARY KEY (name, phone_number_id);
DROP INDEX alias_user;
CREATE INDEX alias_user ON alias (user_key, phone_number_id);
