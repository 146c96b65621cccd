-- Spend alerts, and prepaid credits with their ledger of double entry.

CREATE TABLE spend_alerts (
    id             TEXT COLLATE "C" PRIMARY KEY,
    organization   TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    project        TEXT COLLATE "C",
    threshold      BIGINT NOT NULL,
    recipients     TEXT COLLATE "C" NOT NULL,
    subject_prefix TEXT COLLATE "C" NOT NULL,
    created_at     BIGINT NOT NULL,
    removed_at     BIGINT NOT NULL,
    rev            BIGINT NOT NULL,
    FOREIGN KEY (organization, project) REFERENCES projects (organization, id)
);
-- Lists of an organization's own alerts, and of a project's.
CREATE INDEX spend_alerts_by_age ON spend_alerts (organization, created_at, id) WHERE project IS NULL;
CREATE INDEX spend_alerts_by_project ON spend_alerts (project, created_at, id) WHERE project IS NOT NULL;

-- One row for each organization that has or had anything to do with credits.
CREATE TABLE credits (
    organization TEXT COLLATE "C" PRIMARY KEY REFERENCES organizations (id),
    budget       TEXT COLLATE "C" NOT NULL,
    since        BIGINT NOT NULL,
    posted       BIGINT NOT NULL,
    posted_at    BIGINT NOT NULL,
    refill       TEXT COLLATE "C" NOT NULL,
    rev          BIGINT NOT NULL
);

CREATE TABLE grants (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    name         TEXT COLLATE "C" NOT NULL,
    amount       BIGINT NOT NULL CHECK (amount > 0),
    priority     BIGINT NOT NULL,
    starts_at    BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    activated_at BIGINT NOT NULL,
    revoked_at   BIGINT NOT NULL,
    issued_at    BIGINT NOT NULL,
    closed_at    BIGINT NOT NULL,
    refill       BIGINT NOT NULL,
    reference    TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    rev          BIGINT NOT NULL,
    UNIQUE (organization, name)
);
-- Lists of an organization's grants, and the ones that are not closed.
CREATE INDEX grants_by_age ON grants (organization, created_at, id);
CREATE INDEX grants_open ON grants (organization, created_at, id) WHERE closed_at = 0;

-- The journal. An entry moves an amount from one account to another; it is never changed.
CREATE TABLE credit_entries (
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    number       BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    debit        TEXT COLLATE "C" NOT NULL,
    credit       TEXT COLLATE "C" NOT NULL,
    grant_id     TEXT COLLATE "C" NOT NULL,
    amount       BIGINT NOT NULL CHECK (amount > 0),
    reference    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (organization, number),
    CHECK (debit <> credit)
);

-- What the entries of each account come to, kept in the transaction of each entry.
CREATE TABLE credit_accounts (
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    account      TEXT COLLATE "C" NOT NULL,
    grant_id     TEXT COLLATE "C" NOT NULL,
    balance      BIGINT NOT NULL,
    PRIMARY KEY (organization, account, grant_id),
    CHECK (account <> 'balance' OR balance >= 0),
    CHECK (account <> 'overdrawn' OR balance <= 0)
);
