-- Whom each account of a provider has served since it was stored: {"its credential, or its address": "a project's id, or * for
-- several"}. Of the time before this column only the present is known: an organization's only project, the only one that the
-- upstream is for, else several.
ALTER TABLE upstreams ADD COLUMN served TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE upstreams SET served = '{"' || REPLACE(REPLACE(CASE WHEN credential <> '' THEN credential ELSE base_url END, '\', '\\'), '"', '\"') || '":"' ||
    CASE
        WHEN (SELECT COUNT(*) FROM projects WHERE projects.organization = upstreams.organization) = 1
            THEN (SELECT MIN(id) FROM projects WHERE projects.organization = upstreams.organization)
        WHEN projects LIKE '["%"]' AND projects NOT LIKE '%,%' THEN REPLACE(REPLACE(projects, '["', ''), '"]', '')
        ELSE '*'
    END || '"}'
WHERE dialect <> 'mock';
-- Which projects send their calls without a model to an upstream.
CREATE INDEX projects_by_upstream ON projects (upstream, id) WHERE upstream <> '';
