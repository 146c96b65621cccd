-- Calls that were made with an Idempotency-Key: hash is of what was asked, answer what was answered, empty where that is not kept.
CREATE TABLE idempotent_calls (
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    actor        TEXT COLLATE "C" NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    hash         TEXT COLLATE "C" NOT NULL,
    subject      TEXT COLLATE "C" NOT NULL,
    subject_id   TEXT COLLATE "C" NOT NULL,
    status       BIGINT NOT NULL,
    answer       TEXT COLLATE "C" NOT NULL,
    called_at    BIGINT NOT NULL,
    PRIMARY KEY (organization, actor, name)
);
CREATE INDEX idempotent_calls_by_age ON idempotent_calls (called_at);
