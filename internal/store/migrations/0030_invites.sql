-- Who was asked to join an organization. digest is of the token in the link; projects is a JSON list.
CREATE TABLE invites (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    email        TEXT COLLATE "C" NOT NULL,
    role         TEXT COLLATE "C" NOT NULL,
    projects     TEXT COLLATE "C" NOT NULL,
    digest       TEXT COLLATE "C" NOT NULL,
    invited_by   TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    accepted_at  BIGINT NOT NULL,
    accepted_by  TEXT COLLATE "C" NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL
);
CREATE INDEX invites_by_age ON invites (organization, created_at, id);
CREATE UNIQUE INDEX invites_by_digest ON invites (digest);
