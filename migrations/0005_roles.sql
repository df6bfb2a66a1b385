-- What participants may do (ADR 24). role: 1 admin, 2 moderator, 3 member, 4 reader; of the admin it is 3, for
-- conversations.admin says who that is. muted_until: unix milliseconds, also when that time has come.
ALTER TABLE participants ADD COLUMN role INTEGER NOT NULL DEFAULT 3;
ALTER TABLE participants ADD COLUMN muted_until INTEGER;

-- What they were when they left: readers and muted ones are that again when they are added.
ALTER TABLE departures ADD COLUMN role INTEGER NOT NULL DEFAULT 3;
ALTER TABLE departures ADD COLUMN muted_until INTEGER;
CREATE INDEX departures_kept ON departures (conversation, left_seq) WHERE role = 4 OR muted_until IS NOT NULL;

-- data: a JSON object, compact. posts, adds: who sends and who adds, 1 all, 2 moderators. keeps: departures_kept has
-- somebody. bans: how many there are.
ALTER TABLE conversations ADD COLUMN data TEXT;
ALTER TABLE conversations ADD COLUMN posts INTEGER NOT NULL DEFAULT 1;
ALTER TABLE conversations ADD COLUMN adds INTEGER NOT NULL DEFAULT 2;
ALTER TABLE conversations ADD COLUMN edit_window_s INTEGER;
ALTER TABLE conversations ADD COLUMN typing INTEGER NOT NULL DEFAULT 1;
ALTER TABLE conversations ADD COLUMN presence INTEGER NOT NULL DEFAULT 1;
ALTER TABLE conversations ADD COLUMN keeps INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN bans INTEGER NOT NULL DEFAULT 0;

-- Who may not be added.
CREATE TABLE bans (
    conversation TEXT NOT NULL,
    user TEXT NOT NULL,
    banned_by TEXT NOT NULL,
    at INTEGER NOT NULL,
    reason TEXT,
    PRIMARY KEY (conversation, user)
) STRICT, WITHOUT ROWID;
