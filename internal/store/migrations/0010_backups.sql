-- Backups that were made: what a node's replay files need not hold any more. Read by: at.
CREATE TABLE backups (
    id     TEXT COLLATE "C" PRIMARY KEY,
    at     BIGINT NOT NULL,
    epoch  BIGINT NOT NULL,
    seq    BIGINT NOT NULL,
    rows   BIGINT NOT NULL,
    bytes  BIGINT NOT NULL
);
CREATE INDEX backups_by_age ON backups (at, id);

-- The folders of replay files that nodes write: what a restore asks for. Measurement: written by Record.
CREATE TABLE replay_folders (
    id      TEXT COLLATE "C" PRIMARY KEY,
    node    TEXT COLLATE "C" NOT NULL,
    seen_at BIGINT NOT NULL
);
