-- What the caller of open work said in headers, for its usage.
ALTER TABLE work ADD COLUMN labels TEXT COLLATE "C" NOT NULL DEFAULT '';
