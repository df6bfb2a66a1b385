-- The time of a shard (newest_ts, so called when it was the newest time of a record) is told by its epoch-start records
-- alone: by what passed between two of one epoch. mark_ts: time of the last of them.
ALTER TABLE progress ADD COLUMN mark_ts INTEGER NOT NULL DEFAULT 0;
