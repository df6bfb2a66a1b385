-- Conversations that are closed, and erased in steps (ADR 26). closed: 0 open, 1 closed and not erased yet, 2 erased;
-- admin is then who closed it, and departures that end with its last seq are of those who took part. pruned: messages
-- and events up to this seq are gone.
ALTER TABLE conversations ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN closed INTEGER NOT NULL DEFAULT 0;

-- What is to be erased.
CREATE INDEX conversations_closed ON conversations (name) WHERE closed = 1;
