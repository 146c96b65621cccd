-- What the price of open work depends on beside its model.
ALTER TABLE work ADD COLUMN priced_as TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE work ADD COLUMN size TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE work ADD COLUMN quality TEXT COLLATE "C" NOT NULL DEFAULT '';
