-- What is looked for, and who is told. body is JSON: everything a rule or a channel has besides.
CREATE TABLE alert_rules (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    name         TEXT COLLATE "C" NOT NULL,
    body         TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL
);
CREATE INDEX alert_rules_by_age ON alert_rules (organization, created_at, id);
CREATE UNIQUE INDEX alert_rules_by_name ON alert_rules (organization, name) WHERE removed_at = 0;

CREATE TABLE alert_channels (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    name         TEXT COLLATE "C" NOT NULL,
    body         TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    removed_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL
);
CREATE INDEX alert_channels_by_age ON alert_channels (organization, created_at, id);
CREATE UNIQUE INDEX alert_channels_by_name ON alert_channels (organization, name) WHERE removed_at = 0;

-- What was found. body is the alert as JSON, without what the columns say.
CREATE TABLE alerts (
    id              TEXT COLLATE "C" PRIMARY KEY,
    organization    TEXT COLLATE "C" NOT NULL,
    at              BIGINT NOT NULL,
    action          TEXT COLLATE "C" NOT NULL,
    acknowledged_at BIGINT NOT NULL,
    acknowledged_by TEXT COLLATE "C" NOT NULL,
    body            TEXT COLLATE "C" NOT NULL
);
CREATE INDEX alerts_by_age ON alerts (organization, at, id);
CREATE INDEX alerts_by_time ON alerts (at, id);
CREATE INDEX alerts_to_act ON alerts (at, id) WHERE action = 'pending';

-- Until when a rule says nothing more about a subject: the guard that makes one alert of what several nodes, or several looks, find.
CREATE TABLE alert_marks (
    rule    TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    until   BIGINT NOT NULL,
    PRIMARY KEY (rule, subject)
);
CREATE INDEX alert_marks_by_end ON alert_marks (until);

-- The queue: one row for each alert and channel.
CREATE TABLE alert_deliveries (
    id            TEXT COLLATE "C" PRIMARY KEY,
    organization  TEXT COLLATE "C" NOT NULL,
    alert         TEXT COLLATE "C" NOT NULL,
    channel       TEXT COLLATE "C" NOT NULL,
    state         TEXT COLLATE "C" NOT NULL,
    tries         BIGINT NOT NULL,
    next          BIGINT NOT NULL,
    claimed_until BIGINT NOT NULL,
    error         TEXT COLLATE "C" NOT NULL,
    created_at    BIGINT NOT NULL,
    ended_at      BIGINT NOT NULL
);
CREATE INDEX alert_deliveries_due ON alert_deliveries (next, id) WHERE state = 'pending';
CREATE INDEX alert_deliveries_by_alert ON alert_deliveries (alert, created_at, id);
CREATE INDEX alert_deliveries_by_age ON alert_deliveries (organization, state, created_at, id);

-- What a key, a project, a deployment in a project or an upstream did in an hour. Spikes are told from what was usual by it.
CREATE TABLE activity (
    kind         TEXT COLLATE "C" NOT NULL,
    subject      TEXT COLLATE "C" NOT NULL,
    hour         BIGINT NOT NULL,
    organization TEXT COLLATE "C" NOT NULL,
    project      TEXT COLLATE "C" NOT NULL,
    model        TEXT COLLATE "C" NOT NULL,
    requests     BIGINT NOT NULL,
    errors       BIGINT NOT NULL,
    unpriced     BIGINT NOT NULL,
    cost         BIGINT NOT NULL,
    PRIMARY KEY (kind, subject, hour)
);
CREATE INDEX activity_by_hour ON activity (hour, kind, subject);

-- Networks a key was used from: the latest of them, as prefixes of /24 and /48, and no address.
CREATE TABLE key_networks (
    key_id   TEXT COLLATE "C" NOT NULL,
    network  TEXT COLLATE "C" NOT NULL,
    first_at BIGINT NOT NULL,
    last_at  BIGINT NOT NULL,
    PRIMARY KEY (key_id, network)
);
CREATE INDEX key_networks_by_first ON key_networks (first_at, key_id, network);
CREATE INDEX key_networks_by_last ON key_networks (last_at);

-- When a key was last used again after at least a day, and since when it had not been.
ALTER TABLE key_use ADD COLUMN slept_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE key_use ADD COLUMN woke_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX key_use_by_waking ON key_use (woke_at, key_id) WHERE woke_at > 0;

-- Who does what only one node should do at a time, and until when.
CREATE TABLE duties (
    name   TEXT COLLATE "C" PRIMARY KEY,
    holder TEXT COLLATE "C" NOT NULL,
    until  BIGINT NOT NULL
);
