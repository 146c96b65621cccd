-- Rate limits: how much of each kind whom a scope names may ask for in a minute or a day, of one deployment or of all of them. 0: not
-- limited. What is used of a limit is in no table: it is counted in memory, or in Valkey.
CREATE TABLE rate_limits (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    scope        TEXT COLLATE "C" NOT NULL,
    subject      TEXT COLLATE "C" NOT NULL,
    model        TEXT COLLATE "C" NOT NULL,
    requests_per_minute        BIGINT NOT NULL,
    tokens_per_minute          BIGINT NOT NULL,
    requests_per_day           BIGINT NOT NULL,
    images_per_minute          BIGINT NOT NULL,
    audio_megabytes_per_minute BIGINT NOT NULL,
    batch_input_tokens_per_day BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL
);
CREATE UNIQUE INDEX rate_limits_by_subject ON rate_limits (organization, scope, subject, model) WHERE removed_at = 0;
