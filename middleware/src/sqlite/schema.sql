-- What became of keyed requests, and how much is kept. Run again, it changes nothing.

CREATE TABLE IF NOT EXISTS vestibule_record (
    caller  TEXT    NOT NULL,
    key     BLOB    NOT NULL,
    -- Unix milliseconds at which it may be forgotten.
    expires INTEGER NOT NULL,
    -- Its part of what may be kept.
    bytes   INTEGER NOT NULL,
    record  BLOB    NOT NULL,
    PRIMARY KEY (caller, key)
) STRICT;

CREATE INDEX IF NOT EXISTS vestibule_record_expiry ON vestibule_record (expires);

-- How much each caller keeps, and under the name '' how much all do.
CREATE TABLE IF NOT EXISTS vestibule_usage (
    caller  TEXT PRIMARY KEY,
    records INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How much may be kept: here, so that every connection judges by the same.
CREATE TABLE IF NOT EXISTS vestibule_capacity (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    records INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
) STRICT;

CREATE TRIGGER IF NOT EXISTS vestibule_record_entered AFTER INSERT ON vestibule_record BEGIN
    INSERT INTO vestibule_usage VALUES (NEW.caller, 1, NEW.bytes), ('', 1, NEW.bytes)
    ON CONFLICT (caller) DO UPDATE SET records = records + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER IF NOT EXISTS vestibule_record_changed AFTER UPDATE OF bytes ON vestibule_record BEGIN
    UPDATE vestibule_usage SET bytes = bytes + NEW.bytes - OLD.bytes WHERE caller IN (NEW.caller, '');
END;

CREATE TRIGGER IF NOT EXISTS vestibule_record_left AFTER DELETE ON vestibule_record BEGIN
    UPDATE vestibule_usage SET records = records - 1, bytes = bytes - OLD.bytes
    WHERE caller IN (OLD.caller, '');
    DELETE FROM vestibule_usage WHERE caller = OLD.caller AND records = 0;
END;
