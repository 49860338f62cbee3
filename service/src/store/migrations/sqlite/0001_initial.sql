-- Messages, their attempts, and what keeps one key to one message. Times are Unix milliseconds.

CREATE TABLE message (
    id              BLOB PRIMARY KEY,
    account         TEXT    NOT NULL,
    agent_id        BLOB    NOT NULL,
    phone_number_id TEXT    NOT NULL,
    recipient       TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    content         TEXT    NOT NULL,
    correlation_id  TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    -- Set while the message waits to be sent, and only then: the queue is this index.
    not_before      INTEGER,
    expires_at      INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    refusals        INTEGER NOT NULL DEFAULT 0,
    wamid           TEXT,
    failure_code    TEXT,
    failure_message TEXT,
    created_at      INTEGER NOT NULL,
    sent_at         INTEGER,
    failed_at       INTEGER
) STRICT;

CREATE INDEX message_due ON message (not_before) WHERE not_before IS NOT NULL;

-- The first response to each key, for longer than the layer in front keeps it.
CREATE TABLE deduplication (
    caller         TEXT    NOT NULL,
    key            BLOB    NOT NULL,
    fingerprint    BLOB    NOT NULL,
    status         INTEGER NOT NULL,
    body           BLOB    NOT NULL,
    correlation_id TEXT    NOT NULL,
    expires_at     INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX deduplication_expiry ON deduplication (expires_at);

-- Written before a connection is made; without an outcome it may have reached Meta.
CREATE TABLE attempt (
    message_id BLOB    NOT NULL,
    n          INTEGER NOT NULL,
    token      TEXT    NOT NULL UNIQUE,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    outcome    TEXT,
    code       INTEGER,
    wamid      TEXT,
    PRIMARY KEY (message_id, n)
) STRICT, WITHOUT ROWID;

CREATE INDEX attempt_wamid ON attempt (wamid) WHERE wamid IS NOT NULL;
CREATE INDEX attempt_open ON attempt (started_at) WHERE outcome IS NULL;

-- Statuses of messages that nobody knows yet: a webhook may overtake the answer.
CREATE TABLE orphan_status (
    wamid           TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    at              INTEGER NOT NULL,
    failure_code    TEXT,
    failure_message TEXT,
    received_at     INTEGER NOT NULL,
    PRIMARY KEY (wamid, state)
) STRICT, WITHOUT ROWID;

CREATE INDEX orphan_status_age ON orphan_status (received_at);

CREATE TABLE customer_window (
    phone_number_id TEXT    NOT NULL,
    user            TEXT    NOT NULL,
    opened_at       INTEGER NOT NULL,
    PRIMARY KEY (phone_number_id, user)
) STRICT, WITHOUT ROWID;

-- The bodies of webhooks as they came, appended before they are acknowledged.
CREATE TABLE webhook (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    body         BLOB    NOT NULL,
    received_at  INTEGER NOT NULL,
    processed_at INTEGER
) STRICT;

CREATE INDEX webhook_backlog ON webhook (seq) WHERE processed_at IS NULL;
CREATE INDEX webhook_age ON webhook (processed_at) WHERE processed_at IS NOT NULL;
