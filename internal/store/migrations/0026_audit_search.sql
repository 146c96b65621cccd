-- The audit log is searched newest first, by everything that a person looks for. Most events lack most of these: the partial
-- indexes hold only those that have them.
CREATE INDEX events_by_time ON events (organization, at, id);
CREATE INDEX events_by_type ON events (organization, type, at, id);
CREATE INDEX events_by_project ON events (organization, project, at, id) WHERE project <> '';
CREATE INDEX events_by_subject ON events (organization, subject_id, at, id) WHERE subject_id <> '';
CREATE INDEX events_by_key ON events (organization, actor_key, at, id) WHERE actor_key <> '';
CREATE INDEX events_by_user ON events (organization, actor_user, at, id) WHERE actor_user <> '';
CREATE INDEX events_by_account ON events (organization, actor_service_account, at, id) WHERE actor_service_account <> '';
