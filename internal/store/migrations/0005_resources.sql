-- Resources: Azure-shaped pairs of keys over a project's deployments; and the region a project's requests stay in.

CREATE TABLE resources (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL,
    project      TEXT COLLATE "C" NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    region       TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL,
    UNIQUE (organization, id),
    FOREIGN KEY (organization, project) REFERENCES projects (organization, id)
);
-- Lists of an organization's and of a project's resources; one live resource per name in a project.
CREATE INDEX resources_by_age ON resources (organization, created_at, id);
CREATE INDEX resources_by_project ON resources (project, created_at, id);
CREATE UNIQUE INDEX resources_by_name ON resources (project, name) WHERE removed_at = 0;

-- Which of a resource's two keys a key is. A foreign key of two columns cannot be added to a table in SQLite; that a key's
-- resource is of the key's own organization and project is checked by the one function that inserts keys (Tx.CreateKey).
ALTER TABLE keys ADD COLUMN slot BIGINT NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN owner_resource TEXT COLLATE "C" REFERENCES resources (id)
    CHECK (CASE WHEN class = 'z' THEN owner_resource IS NOT NULL AND slot IN (1, 2) AND owner_user IS NULL AND owner_service_account IS NULL
        ELSE owner_resource IS NULL AND slot = 0 END);
-- A resource's live keys, at most one in each slot.
CREATE UNIQUE INDEX keys_by_slot ON keys (owner_resource, slot) WHERE owner_resource IS NOT NULL AND revoked_at = 0;

ALTER TABLE projects ADD COLUMN region TEXT COLLATE "C" NOT NULL DEFAULT '';
