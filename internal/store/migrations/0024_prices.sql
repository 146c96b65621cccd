-- What operators say that models cost, each from a time on (effective_from; 0: always). Either upstream, by its name, or dialect is
-- set. terms is JSON. Few rows, read whole by every node.
CREATE TABLE prices (
    id             TEXT COLLATE "C" PRIMARY KEY,
    organization   TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    upstream       TEXT COLLATE "C" NOT NULL,
    dialect        TEXT COLLATE "C" NOT NULL,
    model          TEXT COLLATE "C" NOT NULL,
    effective_from BIGINT NOT NULL,
    terms          TEXT COLLATE "C" NOT NULL,
    note           TEXT COLLATE "C" NOT NULL,
    created_at     BIGINT NOT NULL,
    removed_at     BIGINT NOT NULL,
    rev            BIGINT NOT NULL
);
CREATE UNIQUE INDEX prices_by_model ON prices (organization, model, upstream, dialect, effective_from) WHERE removed_at = 0;
