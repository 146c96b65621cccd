-- The keys and projects that have labels, for reports by label.
CREATE INDEX keys_by_labels ON keys (organization, id) WHERE labels <> '';
CREATE INDEX projects_by_labels ON projects (organization, id) WHERE labels <> '';
