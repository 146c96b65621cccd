-- Usage added up is kept in pages (docs/adr: pages of sums; rollup.go says what is in one). The rows of rollups are carried over when
-- this step runs (carry.go), and the next step drops them. Measurement: written by Record, MergeSums, FoldSums and Prune only.
CREATE TABLE rollup_pages (
    organization TEXT COLLATE "C" NOT NULL,
    width        BIGINT NOT NULL,
    keyless      BIGINT NOT NULL,
    open         BIGINT NOT NULL,
    bucket       BIGINT NOT NULL,
    part         BIGINT NOT NULL,
    page         BIGINT NOT NULL,
    records      BIGINT NOT NULL,
    body         BYTEA NOT NULL,
    PRIMARY KEY (organization, width, keyless, open, bucket, part, page)
);
