-- Groups of users, roles that somebody made, and to whom roles are assigned.
CREATE TABLE user_groups (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    name         TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL,
    UNIQUE (organization, id)
);
CREATE INDEX user_groups_by_age ON user_groups (organization, created_at, id);
CREATE UNIQUE INDEX user_groups_by_name ON user_groups (organization, name) WHERE removed_at = 0;

CREATE TABLE group_users (
    group_id     TEXT COLLATE "C" NOT NULL,
    user_id      TEXT COLLATE "C" NOT NULL,
    organization TEXT COLLATE "C" NOT NULL,
    added_at     BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL,
    PRIMARY KEY (group_id, user_id),
    FOREIGN KEY (organization, group_id) REFERENCES user_groups (organization, id),
    FOREIGN KEY (organization, user_id) REFERENCES users (organization, id)
);
CREATE INDEX group_users_by_age ON group_users (group_id, added_at, user_id);
-- The groups a user is in.
CREATE INDEX group_users_by_user ON group_users (user_id) WHERE removed_at = 0;

-- project is '' for a role of the organization; permissions is a JSON list.
CREATE TABLE access_roles (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    project      TEXT COLLATE "C" NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    description  TEXT COLLATE "C" NOT NULL,
    permissions  TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL
);
CREATE INDEX access_roles_by_age ON access_roles (organization, project, created_at, id);
CREATE UNIQUE INDEX access_roles_by_name ON access_roles (organization, project, name) WHERE removed_at = 0;

-- role is the id of an access_role or of a predefined role; principal is the id of a user or of a group, as kind says.
CREATE TABLE role_assignments (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    project      TEXT COLLATE "C" NOT NULL,
    role         TEXT COLLATE "C" NOT NULL,
    kind         TEXT COLLATE "C" NOT NULL,
    principal    TEXT COLLATE "C" NOT NULL,
    assigned_by  TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL
);
-- Lists of what a principal is assigned in a place; at most one live assignment of a role.
CREATE INDEX role_assignments_by_age ON role_assignments (principal, project, created_at, id);
CREATE UNIQUE INDEX role_assignments_by_role ON role_assignments (principal, project, role) WHERE removed_at = 0;
CREATE INDEX role_assignments_of_role ON role_assignments (role) WHERE removed_at = 0;
CREATE INDEX role_assignments_of_project ON role_assignments (project) WHERE removed_at = 0;
