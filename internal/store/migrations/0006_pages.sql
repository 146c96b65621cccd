-- What is measured of requests goes into pages: one row for what a batch recorded (docs/adr: pages of measurements). body is packed,
-- see pack.go; page is the time of the newest record in it and a random part, see pageNumber. The rows of usage and requests are
-- carried over when this step runs (carry.go), and the next step drops them.

-- Which page has a settled request: each id once, for ever. Read by: id (primary key).
CREATE TABLE usage_ids (
    id   TEXT COLLATE "C" PRIMARY KEY,
    page BIGINT NOT NULL
) /* WITHOUT ROWID */;

-- Settled requests. Read by: page (primary key), and page by page for reports that need single requests.
CREATE TABLE usage_pages (
    page BIGINT PRIMARY KEY,
    body BYTEA NOT NULL
);

-- Which page has the decision behind a request, where that was not recorded together with its usage: refusals, and what costs
-- nothing. The others are in the page of request_pages that usage_ids says.
CREATE TABLE request_ids (
    id   TEXT COLLATE "C" PRIMARY KEY,
    page BIGINT NOT NULL
) /* WITHOUT ROWID */;

-- Finding a request by the id its client gave it: the newest of an organization.
CREATE TABLE request_names (
    organization TEXT COLLATE "C" NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    at           BIGINT NOT NULL,
    id           TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (organization, name, at, id)
) /* WITHOUT ROWID */;

-- The decisions behind requests. Read by: page (primary key), along which old ones are deleted.
CREATE TABLE request_pages (
    page BIGINT PRIMARY KEY,
    body BYTEA NOT NULL
);
