-- Certificates by which clients are known (mutual TLS). Which of them are in force stands in an organization's certificates (a JSON
-- list of ids) and in a project's policy.
CREATE TABLE certificates (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    name         TEXT COLLATE "C" NOT NULL,
    content      TEXT COLLATE "C" NOT NULL,
    fingerprint  TEXT COLLATE "C" NOT NULL,
    valid_at     BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL
);
CREATE INDEX certificates_by_age ON certificates (organization, created_at, id);
CREATE UNIQUE INDEX certificates_by_fingerprint ON certificates (organization, fingerprint) WHERE removed_at = 0;
ALTER TABLE organizations ADD COLUMN certificates TEXT COLLATE "C" NOT NULL DEFAULT '';
