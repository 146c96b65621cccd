-- What bounds an attempt at an upstream, as JSON, and what keeps a deployment's requests on one route.
ALTER TABLE upstreams ADD COLUMN timeouts TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE deployments ADD COLUMN sticky TEXT COLLATE "C" NOT NULL DEFAULT '';
