-- The first schema. The rules for every migration are in docs/adr/0003-portable-sql.md and 0004-forward-only-migrations.md:
-- TEXT is always COLLATE "C" (order by bytes; the SQLite engine reads it as BINARY), times are BIGINT unix milliseconds with 0
-- for unset, money is BIGINT nano-USD, truth is BIGINT 0 or 1, lists and maps are JSON in TEXT with '' for empty. A column is
-- NULL only where a foreign key may point nowhere.
--
-- The pairs (organization, id) that foreign keys point at make it impossible for a row to name something of another
-- organization.

CREATE TABLE counters (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('event', 0);

CREATE TABLE meta (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

-- The audit log, which is also the invalidation feed. body holds the canonical bytes; the other columns repeat what is searched.
-- Read by: seq (primary key).
CREATE TABLE events (
    seq                   BIGINT PRIMARY KEY,
    id                    TEXT COLLATE "C" NOT NULL UNIQUE,
    type                  TEXT COLLATE "C" NOT NULL,
    at                    BIGINT NOT NULL,
    organization          TEXT COLLATE "C" NOT NULL,
    project               TEXT COLLATE "C" NOT NULL,
    actor_kind            TEXT COLLATE "C" NOT NULL,
    actor_key             TEXT COLLATE "C" NOT NULL,
    actor_user            TEXT COLLATE "C" NOT NULL,
    actor_service_account TEXT COLLATE "C" NOT NULL,
    request_id            TEXT COLLATE "C" NOT NULL,
    subject               TEXT COLLATE "C" NOT NULL,
    subject_id            TEXT COLLATE "C" NOT NULL,
    body                  TEXT COLLATE "C" NOT NULL
);

CREATE TABLE organizations (
    id              TEXT COLLATE "C" PRIMARY KEY,
    name            TEXT COLLATE "C" NOT NULL,
    default_project TEXT COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL,
    rev             BIGINT NOT NULL
);

CREATE TABLE projects (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    name         TEXT COLLATE "C" NOT NULL,
    labels       TEXT COLLATE "C" NOT NULL,
    residency    TEXT COLLATE "C" NOT NULL,
    upstream     TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    archived_at  BIGINT NOT NULL,
    rev          BIGINT NOT NULL,
    UNIQUE (organization, id)
);
-- Lists of an organization's projects, with and without archived ones.
CREATE INDEX projects_by_age ON projects (organization, created_at, id);

CREATE TABLE users (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    name         TEXT COLLATE "C" NOT NULL,
    email        TEXT COLLATE "C" NOT NULL,
    role         TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL,
    UNIQUE (organization, id)
);
-- Lists of an organization's users, and the count of its owners.
CREATE INDEX users_by_age ON users (organization, created_at, id);
-- One live user per address.
CREATE UNIQUE INDEX users_by_email ON users (organization, email) WHERE removed_at = 0 AND email <> '';

CREATE TABLE project_users (
    project      TEXT COLLATE "C" NOT NULL,
    user_id      TEXT COLLATE "C" NOT NULL,
    organization TEXT COLLATE "C" NOT NULL,
    role         TEXT COLLATE "C" NOT NULL,
    added_at     BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL,
    PRIMARY KEY (project, user_id),
    FOREIGN KEY (organization, project) REFERENCES projects (organization, id),
    FOREIGN KEY (organization, user_id) REFERENCES users (organization, id)
);
-- Lists of a project's users.
CREATE INDEX project_users_by_age ON project_users (project, added_at, user_id);
-- A user's memberships.
CREATE INDEX project_users_by_user ON project_users (user_id, project);

CREATE TABLE service_accounts (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL,
    project      TEXT COLLATE "C" NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    role         TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL,
    UNIQUE (organization, id),
    FOREIGN KEY (organization, project) REFERENCES projects (organization, id)
);
-- Lists of a project's service accounts.
CREATE INDEX service_accounts_by_age ON service_accounts (project, created_at, id);

CREATE TABLE keys (
    id                    TEXT COLLATE "C" PRIMARY KEY,
    class                 TEXT COLLATE "C" NOT NULL,
    organization          TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    project               TEXT COLLATE "C",
    owner_user            TEXT COLLATE "C",
    owner_service_account TEXT COLLATE "C",
    name                  TEXT COLLATE "C" NOT NULL,
    labels                TEXT COLLATE "C" NOT NULL,
    scopes                TEXT COLLATE "C" NOT NULL,
    models                TEXT COLLATE "C" NOT NULL,
    allowed_ips           TEXT COLLATE "C" NOT NULL,
    created_at            BIGINT NOT NULL,
    expires_at            BIGINT NOT NULL,
    suspended_at          BIGINT NOT NULL,
    revoked_at            BIGINT NOT NULL,
    redacted              TEXT COLLATE "C" NOT NULL,
    digest                BYTEA NOT NULL,
    pepper_version        BIGINT NOT NULL,
    rev                   BIGINT NOT NULL,
    FOREIGN KEY (organization, project) REFERENCES projects (organization, id),
    FOREIGN KEY (organization, owner_user) REFERENCES users (organization, id),
    FOREIGN KEY (organization, owner_service_account) REFERENCES service_accounts (organization, id),
    CHECK (owner_user IS NULL OR owner_service_account IS NULL),
    CHECK (class <> 'p' OR (project IS NOT NULL AND owner_user IS NOT NULL)),
    CHECK (class <> 's' OR (project IS NOT NULL AND owner_service_account IS NOT NULL)),
    CHECK (class <> 'u' OR (project IS NULL AND owner_user IS NOT NULL)),
    CHECK (class <> 'a' OR project IS NULL),
    CHECK (class <> 'z' OR project IS NOT NULL),
    CHECK (class IN ('p', 's', 'u', 'a', 'z'))
);
-- Lists of keys by organization, by organization and class (admin keys are few among many), by project and by owner.
CREATE INDEX keys_by_organization ON keys (organization, created_at, id);
CREATE INDEX keys_by_class ON keys (organization, class, created_at, id);
CREATE INDEX keys_by_project ON keys (project, created_at, id);
CREATE INDEX keys_by_user ON keys (owner_user, created_at, id);
CREATE INDEX keys_by_service_account ON keys (owner_service_account, created_at, id);

-- When a key was last used: a measurement, apart from keys so that measuring never touches a control row.
CREATE TABLE key_use (
    key_id       TEXT COLLATE "C" PRIMARY KEY,
    last_used_at BIGINT NOT NULL
);

CREATE TABLE upstreams (
    id                TEXT COLLATE "C" PRIMARY KEY,
    organization      TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    name              TEXT COLLATE "C" NOT NULL,
    dialect           TEXT COLLATE "C" NOT NULL,
    base_url          TEXT COLLATE "C" NOT NULL,
    api_version       TEXT COLLATE "C" NOT NULL,
    region            TEXT COLLATE "C" NOT NULL,
    credential        TEXT COLLATE "C" NOT NULL,
    credential_header TEXT COLLATE "C" NOT NULL,
    projects          TEXT COLLATE "C" NOT NULL,
    allow_private     BIGINT NOT NULL,
    http2             BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    removed_at        BIGINT NOT NULL,
    rev               BIGINT NOT NULL
);
-- Lists of an organization's upstreams; one live upstream per name.
CREATE INDEX upstreams_by_age ON upstreams (organization, created_at, id);
CREATE UNIQUE INDEX upstreams_by_name ON upstreams (organization, name) WHERE removed_at = 0;

CREATE TABLE deployments (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    name         TEXT COLLATE "C" NOT NULL,
    projects     TEXT COLLATE "C" NOT NULL,
    routes       TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL
);
-- Lists of an organization's deployments. A name may repeat: deployments of different projects may share it.
CREATE INDEX deployments_by_age ON deployments (organization, created_at, id);

CREATE TABLE sealed (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    name         TEXT COLLATE "C" NOT NULL,
    ciphertext   BYTEA NOT NULL,
    created_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL
);
-- Lists of an organization's sealed secrets.
CREATE INDEX sealed_by_age ON sealed (organization, created_at, id);

-- Everything below is measurement: written by Record only, in no audit log.

CREATE TABLE nodes (
    id                   TEXT COLLATE "C" PRIMARY KEY,
    incarnation          TEXT COLLATE "C" NOT NULL,
    applied_seq          BIGINT NOT NULL,
    beat                 BIGINT NOT NULL,
    max_staleness_millis BIGINT NOT NULL
);

-- One row per settled request. Read by: id (primary key). Reports read rollups.
CREATE TABLE usage (
    id                  TEXT COLLATE "C" PRIMARY KEY,
    at                  BIGINT NOT NULL,
    organization        TEXT COLLATE "C" NOT NULL,
    project             TEXT COLLATE "C" NOT NULL,
    key_id              TEXT COLLATE "C" NOT NULL,
    user_id             TEXT COLLATE "C" NOT NULL,
    service_account     TEXT COLLATE "C" NOT NULL,
    product             TEXT COLLATE "C" NOT NULL,
    model               TEXT COLLATE "C" NOT NULL,
    upstream_model      TEXT COLLATE "C" NOT NULL,
    upstream            TEXT COLLATE "C" NOT NULL,
    service_tier        TEXT COLLATE "C" NOT NULL,
    batch               BIGINT NOT NULL,
    confidence          TEXT COLLATE "C" NOT NULL,
    cost_known          BIGINT NOT NULL,
    cost                BIGINT NOT NULL,
    input               BIGINT NOT NULL,
    cached              BIGINT NOT NULL,
    cache_write         BIGINT NOT NULL,
    input_text          BIGINT NOT NULL,
    input_audio         BIGINT NOT NULL,
    input_image         BIGINT NOT NULL,
    cached_audio        BIGINT NOT NULL,
    cached_image        BIGINT NOT NULL,
    output              BIGINT NOT NULL,
    reasoning           BIGINT NOT NULL,
    output_text         BIGINT NOT NULL,
    output_audio        BIGINT NOT NULL,
    output_image        BIGINT NOT NULL,
    images              BIGINT NOT NULL,
    characters          BIGINT NOT NULL,
    audio_milliseconds  BIGINT NOT NULL
);

-- Sums of usage per width (60000, 3600000 or 86400000 milliseconds) and bucket (its start, a multiple of width). The primary
-- key begins with what every report names: organization, product, width and a range of buckets.
CREATE TABLE rollups (
    organization       TEXT COLLATE "C" NOT NULL,
    product            TEXT COLLATE "C" NOT NULL,
    width              BIGINT NOT NULL,
    bucket             BIGINT NOT NULL,
    project            TEXT COLLATE "C" NOT NULL,
    key_id             TEXT COLLATE "C" NOT NULL,
    user_id            TEXT COLLATE "C" NOT NULL,
    service_account    TEXT COLLATE "C" NOT NULL,
    model              TEXT COLLATE "C" NOT NULL,
    service_tier       TEXT COLLATE "C" NOT NULL,
    batch              BIGINT NOT NULL,
    requests           BIGINT NOT NULL,
    unpriced           BIGINT NOT NULL,
    cost               BIGINT NOT NULL,
    input              BIGINT NOT NULL,
    cached             BIGINT NOT NULL,
    cache_write        BIGINT NOT NULL,
    input_text         BIGINT NOT NULL,
    input_audio        BIGINT NOT NULL,
    input_image        BIGINT NOT NULL,
    cached_audio       BIGINT NOT NULL,
    cached_image       BIGINT NOT NULL,
    output             BIGINT NOT NULL,
    reasoning          BIGINT NOT NULL,
    output_text        BIGINT NOT NULL,
    output_audio       BIGINT NOT NULL,
    output_image       BIGINT NOT NULL,
    images             BIGINT NOT NULL,
    characters         BIGINT NOT NULL,
    audio_milliseconds BIGINT NOT NULL,
    PRIMARY KEY (organization, product, width, bucket, project, key_id, user_id, service_account, model, service_tier, batch)
);

-- The decision behind each request. body is the whole record; the other columns repeat what is searched.
CREATE TABLE requests (
    id                TEXT COLLATE "C" PRIMARY KEY,
    client_request_id TEXT COLLATE "C" NOT NULL,
    at                BIGINT NOT NULL,
    organization      TEXT COLLATE "C" NOT NULL,
    project           TEXT COLLATE "C" NOT NULL,
    key_id            TEXT COLLATE "C" NOT NULL,
    body              TEXT COLLATE "C" NOT NULL
);
-- Lists of an organization's requests, and pruning, which goes organization by organization.
CREATE INDEX requests_by_age ON requests (organization, at, id);
-- Lists of a key's requests.
CREATE INDEX requests_by_key ON requests (key_id, at, id) WHERE key_id <> '';
-- Finding a request by the id its client gave it.
CREATE INDEX requests_by_client_id ON requests (client_request_id, at, id) WHERE client_request_id <> '';

-- What answers created. Read by: id (primary key).
CREATE TABLE objects (
    id         TEXT COLLATE "C" PRIMARY KEY,
    project    TEXT COLLATE "C" NOT NULL,
    upstream   TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT NOT NULL
);
