-- Where projects have their events sent (event_types is a JSON list), and the events that were sent; their deliveries are in the queue of
-- alerts.
CREATE TABLE webhook_endpoints (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    project      TEXT COLLATE "C" NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    url          TEXT COLLATE "C" NOT NULL,
    event_types  TEXT COLLATE "C" NOT NULL,
    secret       TEXT COLLATE "C" NOT NULL,
    old_secret   TEXT COLLATE "C" NOT NULL,
    old_until    BIGINT NOT NULL,
    hint         TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL
);
CREATE INDEX webhook_endpoints_by_age ON webhook_endpoints (project, created_at, id);

CREATE TABLE project_events (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL,
    project      TEXT COLLATE "C" NOT NULL,
    type         TEXT COLLATE "C" NOT NULL,
    data         TEXT COLLATE "C" NOT NULL,
    at           BIGINT NOT NULL
);
CREATE INDEX project_events_by_age ON project_events (at, id);

-- What goes to endpoints and what goes to channels is claimed apart, so that a project's endpoint that does not answer holds up no alert.
DROP INDEX alert_deliveries_due;
CREATE INDEX alert_deliveries_due ON alert_deliveries (next, id) WHERE state = 'pending' AND substr(channel, 1, 4) <> 'whe_';
CREATE INDEX endpoint_deliveries_due ON alert_deliveries (next, id) WHERE state = 'pending' AND substr(channel, 1, 4) = 'whe_';
