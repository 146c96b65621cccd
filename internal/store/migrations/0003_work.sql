-- Work that outlives the request that began it: a row from then until its usage is recorded. Measurement: written by Record and
-- ClaimWork only, in no audit log.
CREATE TABLE work (
    id                 TEXT COLLATE "C" PRIMARY KEY,
    kind               TEXT COLLATE "C" NOT NULL,
    request            TEXT COLLATE "C" NOT NULL,
    organization       TEXT COLLATE "C" NOT NULL,
    project            TEXT COLLATE "C" NOT NULL,
    key_id             TEXT COLLATE "C" NOT NULL,
    user_id            TEXT COLLATE "C" NOT NULL,
    service_account    TEXT COLLATE "C" NOT NULL,
    product            TEXT COLLATE "C" NOT NULL,
    model              TEXT COLLATE "C" NOT NULL,
    upstream_id        TEXT COLLATE "C" NOT NULL,
    upstream           TEXT COLLATE "C" NOT NULL,
    dialect            TEXT COLLATE "C" NOT NULL,
    upstream_model     TEXT COLLATE "C" NOT NULL,
    service_tier       TEXT COLLATE "C" NOT NULL,
    batch              BIGINT NOT NULL,
    at                 BIGINT NOT NULL,
    expires            BIGINT NOT NULL,
    input              BIGINT NOT NULL,
    output             BIGINT NOT NULL,
    video_milliseconds BIGINT NOT NULL,
    poll               TEXT COLLATE "C" NOT NULL,
    next               BIGINT NOT NULL,
    tries              BIGINT NOT NULL,
    claimed_until      BIGINT NOT NULL
);
-- What is due, oldest first.
CREATE INDEX work_by_next ON work (next, id);
-- The age of the oldest.
CREATE INDEX work_by_age ON work (at);

-- What was read of a batch's input when it was uploaded. Read by: file (primary key). models is JSON.
CREATE TABLE batch_inputs (
    file       TEXT COLLATE "C" PRIMARY KEY,
    project    TEXT COLLATE "C" NOT NULL,
    upstream   TEXT COLLATE "C" NOT NULL,
    endpoint   TEXT COLLATE "C" NOT NULL,
    lines      BIGINT NOT NULL,
    input      BIGINT NOT NULL,
    output     BIGINT NOT NULL,
    models     TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);
