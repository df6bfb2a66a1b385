-- One shard's view of its log. Every row is derived from records; nothing here is decided by a clock.
--
-- Ids of messages are BLOBs of 16 bytes (hex(id) shows them, unhex('…') finds them): half the bytes of text in four
-- B-trees. Names are text. Times are unix milliseconds. Tables of the messages stream and of the receipts stream know
-- nothing of each other: no foreign keys, and the two meet only when they are read.

-- ---- whose file this is --------------------------------------------------------------------------------------------

CREATE TABLE identity (
    cluster TEXT NOT NULL,
    shards INTEGER NOT NULL,
    shard INTEGER NOT NULL
) STRICT;

-- Where the file stands in each stream; written in the same transaction as the rows that it stands for.
CREATE TABLE progress (
    stream TEXT PRIMARY KEY NOT NULL,
    applied INTEGER NOT NULL,
    chain BLOB NOT NULL,
    max_epoch INTEGER NOT NULL,
    newest_ts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO progress VALUES ('messages', 0, zeroblob(16), 0, 0), ('receipts', 0, zeroblob(16), 0, 0);

-- Raw entries, verbatim, for as long as recovery may want to append them again. Not part of the digest.
CREATE TABLE entries (
    stream TEXT NOT NULL,
    last_offset INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (stream, last_offset)
) STRICT;

-- Records that could not be applied, as they stand in the log.
CREATE TABLE quarantine (
    stream TEXT NOT NULL,
    "offset" INTEGER NOT NULL,
    reason TEXT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (stream, "offset")
) STRICT;

-- ---- the messages stream -------------------------------------------------------------------------------------------

CREATE TABLE conversations (
    name TEXT PRIMARY KEY NOT NULL,
    title TEXT,
    admin TEXT NOT NULL,
    created INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_offset INTEGER NOT NULL,
    create_key TEXT,
    create_key_stamped INTEGER,
    create_fingerprint BLOB,
    last_seq INTEGER NOT NULL,
    last_created INTEGER NOT NULL,
    participants_count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Current participants. joined_seq: seq of the latest `created` or `joined` that named him; position: his place in it.
CREATE TABLE participants (
    conversation TEXT NOT NULL,
    participant TEXT NOT NULL,
    joined_seq INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (conversation, participant)
) STRICT, WITHOUT ROWID;

-- The last membership that ended, of those who ever left.
CREATE TABLE departures (
    conversation TEXT NOT NULL,
    participant TEXT NOT NULL,
    joined_seq INTEGER NOT NULL,
    left_seq INTEGER NOT NULL,
    PRIMARY KEY (conversation, participant)
) STRICT, WITHOUT ROWID;

-- A table with rowids and indexes beside it: where conversations interleave, a clustered one costs five times as much
-- to write.
CREATE TABLE messages (
    id BLOB NOT NULL,
    conversation TEXT NOT NULL,
    seq INTEGER NOT NULL,
    source TEXT NOT NULL,
    text TEXT NOT NULL,
    reply_to BLOB,
    created INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX messages_by_id ON messages (id);
CREATE UNIQUE INDEX messages_by_seq ON messages (conversation, seq);
CREATE INDEX messages_by_source ON messages (conversation, source, seq);
CREATE INDEX messages_by_reply_to ON messages (reply_to, seq) WHERE reply_to IS NOT NULL;

-- Every durable change of a conversation that is no message. body: the record as encoded in the log, without its key.
CREATE TABLE events (
    conversation TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    created INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (conversation, seq)
) STRICT;

-- Idempotency keys chosen by clients, for 24 h of record time.
CREATE TABLE message_keys (
    conversation TEXT NOT NULL,
    sender TEXT NOT NULL,
    key TEXT NOT NULL,
    seq INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    ts INTEGER NOT NULL,
    PRIMARY KEY (conversation, sender, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_keys_by_ts ON message_keys (ts);

-- The same for creating conversations; in the shard of the user.
CREATE TABLE create_keys (
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    ts INTEGER NOT NULL,
    PRIMARY KEY (user, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX create_keys_by_ts ON create_keys (ts);

-- Which conversations a user of this shard is in (joined = 1) or has left (joined = 0). version: offset of the record.
CREATE TABLE user_index (
    user TEXT NOT NULL,
    conversation TEXT NOT NULL,
    seq INTEGER NOT NULL,
    joined INTEGER NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (user, conversation)
) STRICT, WITHOUT ROWID;
CREATE INDEX user_index_by_version ON user_index (user, version, conversation, seq, joined);
CREATE INDEX user_index_joined ON user_index (user, version, conversation, seq) WHERE joined = 1;

-- Changes of users' indexes on their way to the users' shards.
CREATE TABLE outbox (
    "offset" INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    user TEXT NOT NULL,
    conversation TEXT NOT NULL,
    seq INTEGER NOT NULL,
    joined INTEGER NOT NULL,
    at INTEGER NOT NULL,
    create_key TEXT,
    create_fingerprint BLOB,
    PRIMARY KEY ("offset", idx)
) STRICT, WITHOUT ROWID;

-- ---- the receipts stream -------------------------------------------------------------------------------------------

-- How far each participant is; *_at: time of the last advance of each kind, never falling.
CREATE TABLE watermarks (
    conversation TEXT NOT NULL,
    participant TEXT NOT NULL,
    delivered INTEGER NOT NULL,
    read INTEGER NOT NULL,
    delivered_at INTEGER NOT NULL,
    read_at INTEGER NOT NULL,
    PRIMARY KEY (conversation, participant)
) STRICT, WITHOUT ROWID;

-- Each move of a watermark. kind: 0 delivered, 1 read. The first one that covers a seq tells when.
CREATE TABLE advances (
    conversation TEXT NOT NULL,
    participant TEXT NOT NULL,
    kind INTEGER NOT NULL,
    upto_seq INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    PRIMARY KEY (conversation, participant, kind, upto_seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE reactions (
    message_id BLOB NOT NULL,
    participant TEXT NOT NULL,
    reaction INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    conversation TEXT NOT NULL,
    PRIMARY KEY (message_id, participant)
) STRICT, WITHOUT ROWID;

-- ---- both, when read -----------------------------------------------------------------------------------------------

-- What became of each message at each current participant but its sender who had joined before it.
CREATE VIEW receipts (message_id, user_id, delivered, read, reaction, ts) AS
SELECT message_id, user_id, delivered_at IS NOT NULL, read_at IS NOT NULL, reaction,
    nullif(max(ifnull(delivered_at, -1), ifnull(read_at, -1), ifnull(reacted_at, -1)), -1)
FROM (
    SELECT m.id AS message_id, p.participant AS user_id, r.reaction AS reaction, r.ts AS reacted_at,
        (SELECT a.ts FROM advances AS a WHERE a.conversation = m.conversation AND a.participant = p.participant
            AND a.kind = 0 AND a.upto_seq >= m.seq ORDER BY a.upto_seq LIMIT 1) AS delivered_at,
        (SELECT a.ts FROM advances AS a WHERE a.conversation = m.conversation AND a.participant = p.participant
            AND a.kind = 1 AND a.upto_seq >= m.seq ORDER BY a.upto_seq LIMIT 1) AS read_at
    FROM messages AS m
    JOIN participants AS p
        ON p.conversation = m.conversation AND p.joined_seq < m.seq AND p.participant <> m.source
    LEFT JOIN reactions AS r ON r.message_id = m.id AND r.participant = p.participant
);
