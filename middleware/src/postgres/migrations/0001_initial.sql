-- Moments are milliseconds since the Unix epoch by the clock of this database.

-- What became of keyed requests.
CREATE TABLE records (
    caller      bytea    NOT NULL,  -- environment:family
    key         bytea    NOT NULL,  -- its Idempotency-Key
    fingerprint bytea    NOT NULL,
    token       bytea    NOT NULL,  -- of the attempt that made the last step
    original    text     NOT NULL,  -- the id of the request that was executed
    state       smallint NOT NULL CHECK (state BETWEEN 1 AND 4),  -- claimed, done, not stored, unknown
    lease_ends  bigint   NOT NULL,
    expires     bigint   NOT NULL,  -- when the record may be forgotten
    response    bytea    CHECK ((response IS NOT NULL) = (state = 2)),
    PRIMARY KEY (caller, key)
);

CREATE INDEX records_expires ON records (expires);

-- Who may ask: the records of keys, and never a key.
CREATE TABLE keys (
    id        text COLLATE "C" PRIMARY KEY,
    digest    bytea  NOT NULL UNIQUE,  -- 32 bytes, and the id of the pepper
    record    json   NOT NULL,
    version   bigint NOT NULL,
    last_used bigint
);
