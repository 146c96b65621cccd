-- What may be spent in a stretch of time. Increases and alerts are JSON. A budget's scope and subject never change: what was counted
-- in it was counted for them.
CREATE TABLE budgets (
    id            TEXT COLLATE "C" PRIMARY KEY,
    organization  TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    name          TEXT COLLATE "C" NOT NULL,
    kind          TEXT COLLATE "C" NOT NULL,
    scope         TEXT COLLATE "C" NOT NULL,
    subject       TEXT COLLATE "C" NOT NULL,
    amount        BIGINT NOT NULL,
    period        TEXT COLLATE "C" NOT NULL,
    start_day     BIGINT NOT NULL,
    start_month   BIGINT NOT NULL,
    enforcement   TEXT COLLATE "C" NOT NULL,
    uncapped      TEXT COLLATE "C" NOT NULL,
    unknown_price TEXT COLLATE "C" NOT NULL,
    increases     TEXT COLLATE "C" NOT NULL,
    alerts        TEXT COLLATE "C" NOT NULL,
    created_at    BIGINT NOT NULL,
    removed_at    BIGINT NOT NULL,
    rev           BIGINT NOT NULL
);
-- Lists of an organization's budgets; one live budget per name; one of each other kind for whom it binds.
CREATE INDEX budgets_by_age ON budgets (organization, created_at, id);
CREATE UNIQUE INDEX budgets_by_name ON budgets (organization, name) WHERE removed_at = 0 AND name <> '';
CREATE UNIQUE INDEX budgets_by_kind ON budgets (organization, kind, scope, subject) WHERE removed_at = 0 AND kind <> '';

ALTER TABLE organizations ADD COLUMN time_zone TEXT COLLATE "C" NOT NULL DEFAULT '';
