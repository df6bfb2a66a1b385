-- A message's row holds what the message is now (ADR 22). data: a JSON object, compact; mentions: a JSON list of names, or
-- NULL; edited: time of the last edit; changed_seq: seq of the last edit or of the deletion, 0 when there was none; edits:
-- how many there were. A deleted message has no content: text '', and NULL for data, mentions and edited.
ALTER TABLE messages ADD COLUMN data TEXT;
ALTER TABLE messages ADD COLUMN mentions TEXT;
ALTER TABLE messages ADD COLUMN edited INTEGER;
ALTER TABLE messages ADD COLUMN changed_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN edits INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN deleted_by TEXT;

-- What is not counted as unread.
CREATE INDEX messages_deleted ON messages (conversation, seq, source) WHERE deleted_by IS NOT NULL;

-- Of an `edited` or `deleted` event: the message. The body of an `edited` has no content; that is in the message's row.
ALTER TABLE events ADD COLUMN message_seq INTEGER;

-- Raw entries up to here, and the WAL, may hold what was erased. Of this file alone, so not part of the digest.
CREATE TABLE erasing (
    one INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
    upto INTEGER NOT NULL
) STRICT;

-- As before, but that a deleted message shows no reactions.
DROP VIEW receipts;
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
    LEFT JOIN reactions AS r ON r.message_id = m.id AND r.participant = p.participant AND m.deleted_by IS NULL
);
