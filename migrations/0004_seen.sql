-- When users of this shard were seen last: unix milliseconds, to the minute. No part of the view of the log, and of no
-- digest: the owner writes it behind, and tells its standbys (ADR 23). Replicas may differ in it.
CREATE TABLE seen (
    user TEXT PRIMARY KEY NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whether a participant has reacted since they joined.
CREATE INDEX reactions_by_participant ON reactions (conversation, participant, ts);
