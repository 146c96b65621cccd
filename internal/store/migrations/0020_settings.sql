-- Which labels callers may send as headers (a JSON list of names), and how long an organization's measurements are kept (JSON).
ALTER TABLE organizations ADD COLUMN header_labels TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE organizations ADD COLUMN retention TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE projects ADD COLUMN header_labels TEXT COLLATE "C" NOT NULL DEFAULT '';
