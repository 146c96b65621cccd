-- What each running process says of the routes it uses, as JSON, replaced whole with every report. It is read whole: there are as
-- many rows as nodes.
CREATE TABLE node_health (
    process TEXT COLLATE "C" PRIMARY KEY,
    node    TEXT COLLATE "C" NOT NULL,
    at      BIGINT NOT NULL,
    routes  TEXT COLLATE "C" NOT NULL
);
