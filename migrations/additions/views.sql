-- What participants set for themselves alone (ADR 28). No migration: a program of the version before does not notice
-- these tables, and nothing is in them before every node knows them. The index it keeps without knowing it.

-- Messages stream. Of the present membership: who leaves has no row. revision: 1, 2, 3 … within it.
CREATE TABLE IF NOT EXISTS views (
    conversation TEXT NOT NULL,
    participant TEXT NOT NULL,
    revision INTEGER NOT NULL,
    notify_after INTEGER,
    pinned INTEGER,
    archived INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (conversation, participant)
) STRICT, WITHOUT ROWID;

-- Messages stream: what a row of the outbox says of a view; without a row it says who takes part.
CREATE TABLE IF NOT EXISTS outbox_views (
    "offset" INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    pinned INTEGER,
    archived INTEGER NOT NULL,
    PRIMARY KEY ("offset", idx)
) STRICT, WITHOUT ROWID;

-- Messages stream of the user's shard. joined_seq and version are those of the row of user_index that it belongs to, which
-- says that the user is in.
CREATE TABLE IF NOT EXISTS index_views (
    user TEXT NOT NULL,
    conversation TEXT NOT NULL,
    joined_seq INTEGER NOT NULL,
    version INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    pinned INTEGER,
    archived INTEGER NOT NULL,
    PRIMARY KEY (user, conversation)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS index_views_pinned ON index_views (user, pinned, version DESC) WHERE pinned IS NOT NULL;
CREATE INDEX IF NOT EXISTS index_views_archived ON index_views (user, version) WHERE archived = 1 AND pinned IS NULL;

-- Receipts stream: up to where participants count as having read, of those who once said so; others go by watermarks.read.
-- What is below the seq before one's join is of an earlier membership, and says nothing.
CREATE TABLE IF NOT EXISTS own_marks (
    conversation TEXT NOT NULL,
    participant TEXT NOT NULL,
    read_up_to INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (conversation, participant)
) STRICT, WITHOUT ROWID;

-- Messages that mention somebody: those that were deleted have no mentions.
CREATE INDEX IF NOT EXISTS messages_mentioning ON messages (conversation, seq) WHERE mentions IS NOT NULL;
