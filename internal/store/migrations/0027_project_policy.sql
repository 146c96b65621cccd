-- What a project's requests may do at all (JSON, empty: everything), and what is kept of an organization's requests.
ALTER TABLE projects ADD COLUMN policy TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE organizations ADD COLUMN data_retention TEXT COLLATE "C" NOT NULL DEFAULT '';
