-- What a node says of the pepper: the highest version it knows. 0 is a node of an earlier build, which says nothing.
ALTER TABLE nodes ADD COLUMN pepper_version BIGINT NOT NULL DEFAULT 0;
