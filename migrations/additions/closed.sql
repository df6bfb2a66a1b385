-- Conversations that are closed, and what is erased step by step (ADR 26). No migration: a program of the version before
-- does not notice these tables, and nothing is in them before every node knows them.

-- seq: of the event that closed it. Its admin is who did it, and departures that end with that seq are of those who took
-- part. erased: 1 when nothing is left.
CREATE TABLE IF NOT EXISTS closings (
    conversation TEXT PRIMARY KEY NOT NULL,
    seq INTEGER NOT NULL,
    erased INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS closings_left ON closings (conversation) WHERE erased = 0;

-- Messages and events up to there are gone.
CREATE TABLE IF NOT EXISTS pruned (
    conversation TEXT PRIMARY KEY NOT NULL,
    up_to INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
