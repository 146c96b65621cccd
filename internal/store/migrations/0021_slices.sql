-- What is spent of budgets, and by which node it may be. Measurement: written by Record, TakeSlice and their like, never by a change of
-- a budget.

-- Each window of each budget that anything was spent in. seed is what was spent in it without a slice: before the budget was made, by
-- requests it did not bind yet, and what a restore replayed. recall counts how often a node was refused what others may hold unused.
CREATE TABLE budget_windows (
    budget       TEXT COLLATE "C" NOT NULL,
    window_start BIGINT NOT NULL,
    window_end   BIGINT NOT NULL,
    seed         BIGINT NOT NULL,
    seeded_at    BIGINT NOT NULL,
    recall       BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (budget, window_start)
);

-- What each node may spend of a window and what it has: granted is its slice; used is what its settled requests cost; open_work is the
-- bounds of the work that its requests began and that goes on; kept is what stays of holds whose usage is incomplete.
CREATE TABLE budget_slices (
    budget       TEXT COLLATE "C" NOT NULL,
    window_start BIGINT NOT NULL,
    node         TEXT COLLATE "C" NOT NULL,
    granted      BIGINT NOT NULL,
    used         BIGINT NOT NULL,
    open_work    BIGINT NOT NULL,
    kept         BIGINT NOT NULL,
    PRIMARY KEY (budget, window_start, node)
);
-- What a node holds, for its write-off.
CREATE INDEX budget_slices_by_node ON budget_slices (node, budget, window_start);

-- The thresholds that were reached: a row is what makes each be told once.
CREATE TABLE budget_crossings (
    budget       TEXT COLLATE "C" NOT NULL,
    window_start BIGINT NOT NULL,
    percent      BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    PRIMARY KEY (budget, window_start, percent)
);

-- What stays reserved of requests whose usage is incomplete, by the id of their usage. budgets is JSON: the windows it counts in.
CREATE TABLE kept_holds (
    id           TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL,
    project      TEXT COLLATE "C" NOT NULL,
    key_id       TEXT COLLATE "C" NOT NULL,
    model        TEXT COLLATE "C" NOT NULL,
    node         TEXT COLLATE "C" NOT NULL,
    amount       BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    until        BIGINT NOT NULL,
    budgets      TEXT COLLATE "C" NOT NULL
);
-- Lists of an organization's, and the ones whose windows have ended.
CREATE INDEX kept_holds_by_age ON kept_holds (organization, at, id);
CREATE INDEX kept_holds_by_end ON kept_holds (until, id);

-- The bound of open work, the node it counts at, and JSON of the windows it counts in.
ALTER TABLE work ADD COLUMN bound BIGINT NOT NULL DEFAULT 0;
ALTER TABLE work ADD COLUMN node TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE work ADD COLUMN budgets TEXT COLLATE "C" NOT NULL DEFAULT '';
