-- The tables of the service. Times are Unix milliseconds; SQLite's have the same columns.

CREATE TABLE message (
    id              BYTEA  PRIMARY KEY,
    account         TEXT   NOT NULL,
    agent_id        BYTEA  NOT NULL,
    phone_number_id TEXT   NOT NULL,
    recipient       TEXT   NOT NULL,
    kind            TEXT   NOT NULL,
    content         TEXT   NOT NULL,
    correlation_id  TEXT   NOT NULL,
    traceparent     TEXT,
    policy          TEXT   NOT NULL,
    in_order        BIGINT NOT NULL,
    lasts           BIGINT NOT NULL,
    state           TEXT   NOT NULL,
    -- Set while the message waits to be sent, and only then: the queue is this index.
    not_before      BIGINT,
    expires_at      BIGINT NOT NULL,
    -- When it is given up where nothing happens: in the queue, or on its way through Meta.
    deadline        BIGINT,
    -- On the clock that stands still while webhooks are not taken in.
    reconcile_at    BIGINT,
    attempts        BIGINT NOT NULL DEFAULT 0,
    refusals        BIGINT NOT NULL DEFAULT 0,
    earlier         TEXT,
    wamid           TEXT,
    failure_code    TEXT,
    failure_message TEXT,
    created_at      BIGINT NOT NULL,
    sent_at         BIGINT,
    delivered_at    BIGINT,
    read_at         BIGINT,
    failed_at       BIGINT,
    purged_at       BIGINT
);

CREATE INDEX message_queue ON message (phone_number_id, not_before) WHERE not_before IS NOT NULL;
CREATE INDEX message_deadline ON message (deadline) WHERE deadline IS NOT NULL;
CREATE INDEX message_reconcile ON message (reconcile_at) WHERE reconcile_at IS NOT NULL;
CREATE INDEX message_sequence ON message (phone_number_id, recipient, id) WHERE in_order = 1;
CREATE INDEX message_correlation ON message (correlation_id);
CREATE INDEX message_age ON message (created_at) WHERE purged_at IS NULL;

-- The first response to each key, for longer than the layer in front keeps it.
CREATE TABLE deduplication (
    caller         TEXT   NOT NULL,
    key            BYTEA  NOT NULL,
    fingerprint    BYTEA  NOT NULL,
    status         BIGINT NOT NULL,
    body           BYTEA  NOT NULL,
    correlation_id TEXT   NOT NULL,
    expires_at     BIGINT NOT NULL,
    PRIMARY KEY (caller, key)
);

CREATE INDEX deduplication_expiry ON deduplication (expires_at);

-- Written before a connection is made; without an outcome it may have reached Meta.
CREATE TABLE attempt (
    message_id  BYTEA  NOT NULL,
    n           BIGINT NOT NULL,
    token       TEXT   NOT NULL UNIQUE,
    owner       TEXT   NOT NULL,
    lease_until BIGINT NOT NULL,
    started_at  BIGINT NOT NULL,
    ended_at    BIGINT,
    outcome     TEXT,
    code        BIGINT,
    http_status BIGINT,
    fbtrace_id  TEXT,
    wamid       TEXT,
    PRIMARY KEY (message_id, n)
);

CREATE INDEX attempt_wamid ON attempt (wamid) WHERE wamid IS NOT NULL;
CREATE INDEX attempt_open ON attempt (lease_until) WHERE outcome IS NULL;

-- Each status once: what comes again changes nothing.
CREATE TABLE status_event (
    wamid      TEXT   NOT NULL,
    state      TEXT   NOT NULL,
    message_id BYTEA  NOT NULL,
    at         BIGINT NOT NULL,
    code       BIGINT,
    PRIMARY KEY (wamid, state)
);

CREATE INDEX status_event_message ON status_event (message_id);

-- Statuses of messages that nobody knows yet: a webhook may overtake the answer.
CREATE TABLE orphan_status (
    wamid           TEXT   NOT NULL,
    state           TEXT   NOT NULL,
    at              BIGINT NOT NULL,
    failure_code    TEXT,
    failure_message TEXT,
    received_at     BIGINT NOT NULL,
    token           TEXT,
    phone_number_id TEXT   NOT NULL,
    code            BIGINT,
    PRIMARY KEY (wamid, state)
);

CREATE INDEX orphan_status_age ON orphan_status (received_at);
CREATE INDEX orphan_status_token ON orphan_status (token) WHERE token IS NOT NULL;

-- One customer has several names: a phone number, Meta's id, a number as it was dialled.
CREATE TABLE alias (
    phone_number_id TEXT NOT NULL,
    name            TEXT NOT NULL,
    user_key        TEXT NOT NULL,
    -- So that a number is not kept for ever whose owner never wrote.
    seen_at         BIGINT NOT NULL,
    PRIMARY KEY (phone_number_id, name)
);

CREATE INDEX alias_user ON alias (phone_number_id, user_key);
CREATE INDEX alias_age ON alias (seen_at);

CREATE TABLE customer_window (
    phone_number_id TEXT   NOT NULL,
    user_key        TEXT   NOT NULL,
    opened_at       BIGINT NOT NULL,
    -- When Meta said that it was closed: only what came after that counts.
    refused_at      BIGINT,
    PRIMARY KEY (phone_number_id, user_key)
);

-- What came in, so that it counts once.
CREATE TABLE inbound_seen (
    phone_number_id TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    received_at     BIGINT NOT NULL,
    PRIMARY KEY (phone_number_id, id)
);

CREATE INDEX inbound_seen_age ON inbound_seen (received_at);

-- The bodies of webhooks as they came, appended before they are acknowledged.
CREATE TABLE webhook (
    seq          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    body         BYTEA  NOT NULL,
    received_at  BIGINT NOT NULL,
    processed_at BIGINT
);

CREATE INDEX webhook_backlog ON webhook (seq) WHERE processed_at IS NULL;
CREATE INDEX webhook_age ON webhook (processed_at) WHERE processed_at IS NOT NULL;

-- Why nothing of a number, an account, an app or a token is sent, and until when.
CREATE TABLE hold (
    scope     TEXT   PRIMARY KEY,
    code      BIGINT NOT NULL,
    since     BIGINT NOT NULL,
    struck_at BIGINT NOT NULL,
    until     BIGINT,
    strikes   BIGINT NOT NULL
);

-- How fast a number may send, and a number to one customer.
CREATE TABLE number_shape (
    phone_number_id TEXT   PRIMARY KEY,
    tat_us          BIGINT NOT NULL,
    factor          BIGINT NOT NULL,
    factor_at       BIGINT NOT NULL
);

CREATE TABLE pair_shape (
    phone_number_id TEXT   NOT NULL,
    recipient       TEXT   NOT NULL,
    tat             BIGINT NOT NULL,
    burst_start     BIGINT NOT NULL,
    burst_n         BIGINT NOT NULL,
    PRIMARY KEY (phone_number_id, recipient)
);

CREATE INDEX pair_shape_age ON pair_shape (tat);

-- What is known of the deployment itself, as numbers by name.
CREATE TABLE service_state (
    name  TEXT   PRIMARY KEY,
    value BIGINT NOT NULL
);
