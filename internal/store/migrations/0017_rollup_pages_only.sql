-- What it held is in pages now, see 0016.
DROP TABLE rollups;
