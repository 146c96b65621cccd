-- What OpenAI's users say of themselves; Gatehouse keeps it and looks at neither.
ALTER TABLE users ADD COLUMN technical_level TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN developer_persona TEXT COLLATE "C" NOT NULL DEFAULT '';
