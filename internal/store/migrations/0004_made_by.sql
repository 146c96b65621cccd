-- What made an object: the model its request asked for, and what the upstream knows that by. The object's own upstream goes on
-- answering for it under that name when the deployment goes elsewhere.
ALTER TABLE objects ADD COLUMN deployment TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE objects ADD COLUMN model TEXT COLLATE "C" NOT NULL DEFAULT '';
