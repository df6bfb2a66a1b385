-- When each conversation has to lose its oldest events (ADR 27). No migration: a program of the version before does not
-- notice the table, and the triggers keep it whole while such a program writes.

-- One row for each conversation that is open. oldest: `created` of the lowest seq that is held, NULL when none is: it is
-- told by the other tables, and is there to be searched by. retention_s: as in its settings, NULL: the deployment's.
CREATE TABLE IF NOT EXISTS retained (
    conversation TEXT PRIMARY KEY NOT NULL,
    oldest INTEGER,
    retention_s INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS retained_by_default ON retained (oldest) WHERE retention_s IS NULL;
CREATE INDEX IF NOT EXISTS retained_by_own ON retained (oldest + retention_s * 1000) WHERE retention_s IS NOT NULL;
CREATE INDEX IF NOT EXISTS retained_by_max ON retained (oldest) WHERE retention_s IS NOT NULL;

CREATE TRIGGER IF NOT EXISTS retained_created AFTER INSERT ON conversations BEGIN
    INSERT OR IGNORE INTO retained (conversation, oldest) VALUES (NEW.name, NEW.created);
END;
CREATE TRIGGER IF NOT EXISTS retained_closed AFTER INSERT ON closings BEGIN
    DELETE FROM retained WHERE conversation = NEW.conversation;
END;

-- Of conversations that are older than the table; nothing of an open one was pruned before.
INSERT INTO retained (conversation, oldest)
    SELECT c.name, c.created FROM conversations AS c
    WHERE NOT EXISTS (SELECT 1 FROM retained) AND NOT EXISTS (SELECT 1 FROM closings AS x WHERE x.conversation = c.name);
