-- Issuers of tokens that workloads elsewhere present, and which token becomes which service account. transformations, verification,
-- matchers and scopes are JSON.
CREATE TABLE identity_providers (
    id              TEXT COLLATE "C" PRIMARY KEY,
    organization    TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    name            TEXT COLLATE "C" NOT NULL,
    issuer          TEXT COLLATE "C" NOT NULL,
    audience        TEXT COLLATE "C" NOT NULL,
    description     TEXT COLLATE "C" NOT NULL,
    disabled        BIGINT NOT NULL,
    transformations TEXT COLLATE "C" NOT NULL,
    verification    TEXT COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    removed_at      BIGINT NOT NULL,
    rev             BIGINT NOT NULL,
    UNIQUE (organization, id)
);
CREATE INDEX identity_providers_by_age ON identity_providers (organization, created_at, id);

CREATE TABLE federation_rules (
    id              TEXT COLLATE "C" PRIMARY KEY,
    organization    TEXT COLLATE "C" NOT NULL,
    provider        TEXT COLLATE "C" NOT NULL,
    project         TEXT COLLATE "C" NOT NULL,
    service_account TEXT COLLATE "C" NOT NULL,
    matchers        TEXT COLLATE "C" NOT NULL,
    name            TEXT COLLATE "C" NOT NULL,
    description     TEXT COLLATE "C" NOT NULL,
    disabled        BIGINT NOT NULL,
    scopes          TEXT COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    removed_at      BIGINT NOT NULL,
    rev             BIGINT NOT NULL,
    FOREIGN KEY (organization, provider) REFERENCES identity_providers (organization, id)
);
CREATE INDEX federation_rules_by_age ON federation_rules (provider, created_at, id);

-- What of an organization's own cloud accounts was registered: kind is key or storage, settings a JSON object of the provider's fields.
CREATE TABLE externals (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    kind         TEXT COLLATE "C" NOT NULL,
    project      TEXT COLLATE "C" NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    provider     TEXT COLLATE "C" NOT NULL,
    purpose      TEXT COLLATE "C" NOT NULL,
    settings     TEXT COLLATE "C" NOT NULL,
    status       TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL
);
CREATE INDEX externals_by_age ON externals (organization, kind, created_at, id);
