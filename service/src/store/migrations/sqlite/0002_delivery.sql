-- What a message waits for, who sends it, and what is known of customers and numbers.

ALTER TABLE message ADD COLUMN traceparent TEXT;
ALTER TABLE message ADD COLUMN policy TEXT NOT NULL DEFAULT 'at_most_once';
ALTER TABLE message ADD COLUMN in_order INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN lasts INTEGER NOT NULL DEFAULT 2592000000;
-- When it is given up where nothing happens: in the queue, or on its way through Meta.
ALTER TABLE message ADD COLUMN deadline INTEGER;
-- On the clock that stands still while webhooks are not taken in.
ALTER TABLE message ADD COLUMN reconcile_at INTEGER;
ALTER TABLE message ADD COLUMN earlier TEXT;
ALTER TABLE message ADD COLUMN delivered_at INTEGER;
ALTER TABLE message ADD COLUMN read_at INTEGER;
ALTER TABLE message ADD COLUMN purged_at INTEGER;

UPDATE message SET deadline = expires_at WHERE not_before IS NOT NULL;
UPDATE message SET deadline = sent_at + lasts + 3600000 WHERE state IN ('submitted', 'sent');
UPDATE message SET reconcile_at = 600000 WHERE state = 'uncertain';

DROP INDEX message_due;
CREATE INDEX message_queue ON message (phone_number_id, not_before) WHERE not_before IS NOT NULL;
CREATE INDEX message_deadline ON message (deadline) WHERE deadline IS NOT NULL;
CREATE INDEX message_reconcile ON message (reconcile_at) WHERE reconcile_at IS NOT NULL;
CREATE INDEX message_sequence ON message (phone_number_id, recipient, id) WHERE in_order = 1;
CREATE INDEX message_correlation ON message (correlation_id);
CREATE INDEX message_age ON message (created_at) WHERE purged_at IS NULL;

ALTER TABLE attempt ADD COLUMN lease_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE attempt ADD COLUMN http_status INTEGER;
ALTER TABLE attempt ADD COLUMN fbtrace_id TEXT;
DROP INDEX attempt_open;
CREATE INDEX attempt_open ON attempt (lease_until) WHERE outcome IS NULL;

-- Each status once: what comes again changes nothing.
CREATE TABLE status_event (
    wamid      TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    message_id BLOB    NOT NULL,
    at         INTEGER NOT NULL,
    code       INTEGER,
    PRIMARY KEY (wamid, state)
) STRICT, WITHOUT ROWID;

CREATE INDEX status_event_message ON status_event (message_id);

ALTER TABLE orphan_status ADD COLUMN token TEXT;
ALTER TABLE orphan_status ADD COLUMN phone_number_id TEXT NOT NULL DEFAULT '';
ALTER TABLE orphan_status ADD COLUMN code INTEGER;
CREATE INDEX orphan_status_token ON orphan_status (token) WHERE token IS NOT NULL;

-- One customer has several names: a phone number, Meta's id, a number as it was dialled.
ALTER TABLE customer_window RENAME COLUMN user TO user_key;
-- When Meta said that it was closed: only what came after that counts.
ALTER TABLE customer_window ADD COLUMN refused_at INTEGER;

CREATE TABLE alias (
    phone_number_id TEXT NOT NULL,
    name            TEXT NOT NULL,
    user_key        TEXT NOT NULL,
    -- So that a number is not kept for ever whose owner never wrote.
    seen_at         INTEGER NOT NULL,
    PRIMARY KEY (phone_number_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX alias_user ON alias (phone_number_id, user_key);
CREATE INDEX alias_age ON alias (seen_at);

INSERT INTO alias SELECT phone_number_id, user_key, user_key, opened_at FROM customer_window;

-- What came in, so that it counts once.
CREATE TABLE inbound_seen (
    phone_number_id TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    received_at     INTEGER NOT NULL,
    PRIMARY KEY (phone_number_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX inbound_seen_age ON inbound_seen (received_at);

-- Why nothing of a number, an account, an app or a token is sent, and until when.
CREATE TABLE hold (
    scope     TEXT    PRIMARY KEY,
    code      INTEGER NOT NULL,
    since     INTEGER NOT NULL,
    struck_at INTEGER NOT NULL,
    until     INTEGER,
    strikes   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How fast a number may send, and a number to one customer.
CREATE TABLE number_shape (
    phone_number_id TEXT    PRIMARY KEY,
    tat_us          INTEGER NOT NULL,
    factor          INTEGER NOT NULL,
    factor_at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE pair_shape (
    phone_number_id TEXT    NOT NULL,
    recipient       TEXT    NOT NULL,
    tat             INTEGER NOT NULL,
    burst_start     INTEGER NOT NULL,
    burst_n         INTEGER NOT NULL,
    PRIMARY KEY (phone_number_id, recipient)
) STRICT, WITHOUT ROWID;

CREATE INDEX pair_shape_age ON pair_shape (tat);

-- What is known of the deployment itself, as numbers by name.
CREATE TABLE service_state (
    name  TEXT    PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
