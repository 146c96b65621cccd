-- What these held is in pages now, see 0006.
DROP TABLE usage;
DROP TABLE requests;
