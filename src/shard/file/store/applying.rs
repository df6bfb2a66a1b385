//! Entries of the log go into the file: rows, raw bytes, and where the stream stands, in one
//! transaction.

use bytes::Bytes;
use tokio::time::Instant;

use crate::ids::ShardId;
use crate::log::Stream;
use crate::log::record::{Entry, Tail};
use crate::shard::file::apply::{Clockwork, Quarantined, messages, receipts, time_of_entry};
use crate::shard::file::store::columns::int;
use crate::shard::file::store::retained::Mark;
use crate::shard::file::store::script::{Multi, Script};
use crate::shard::file::store::writer::Writer;
use crate::shard::file::store::{ApplyEntry, StoreError, write_messages, write_receipts};
use crate::telemetry::APPLY_QUARANTINED;

const SET_PROGRESS: &str = "UPDATE progress SET applied = ?, chain = ?, max_epoch = ?, newest_ts = ?, mark_ts = ? WHERE stream = ?";

const ENTRY: Multi = Multi::insert(
    "INSERT INTO entries (stream, last_offset, ts, bytes)",
    "(?, ?, ?, ?)",
);

const QUARANTINE: Multi = Multi::insert(
    "INSERT OR REPLACE INTO quarantine (stream, \"offset\", reason, bytes)",
    "(?, ?, ?, ?)",
);

impl Writer {
    pub(super) async fn apply(
        &mut self,
        stream: Stream,
        entries: &[ApplyEntry],
    ) -> Result<u32, StoreError> {
        self.be_certain().await?;
        let before = self.progress.borrow().applied[stream];

        // Entries that are in the file already come again after a write whose answer was lost.
        let entries: Vec<&ApplyEntry> = entries
            .iter()
            .filter(|new| new.entry.tail.offset > before.offset)
            .collect();
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Ok(0);
        };

        if first.entry.first != before.offset.next() {
            let found = first.entry.first;
            return Err(StoreError::Failed(format!(
                "entries from {found} do not follow {}",
                before.offset
            )));
        }

        let tail = last.entry.tail;
        let written = self.write(stream, &entries, tail).await;
        let (clockwork, quarantined) = match written {
            Ok(written) => written,
            Err(error) => {
                self.uncertain = true;
                self.last_seqs.forget();
                self.marks.forget();
                let error = self.on_disk(error).await;
                self.note_full(matches!(error, StoreError::Full(_)));
                return Err(error);
            }
        };

        self.note_full(false);
        self.written(stream, &entries, tail, clockwork);
        Ok(report(self.shard, stream, &quarantined))
    }

    async fn write(
        &mut self,
        stream: Stream,
        entries: &[&ApplyEntry],
        tail: Tail,
    ) -> Result<(Clockwork, Vec<Quarantined>), StoreError> {
        let known_clockwork = self.clockworks[stream];
        let decoded = || entries.iter().map(|entry| &entry.entry);
        // Read before the transaction begins: nobody else writes to the file.
        let connection = self.connection.get().await?;
        // Plain statements, not sqlx's transactions: when the disk is full SQLite rolls back by
        // itself, and sqlx would believe for ever that a transaction is open.
        let mut script = Script::begin();

        let (clockwork, quarantined, new) = match stream {
            Stream::Messages => {
                let known = write_messages::known(
                    connection,
                    messages::asked(decoded()),
                    known_clockwork,
                    &self.last_seqs,
                )
                .await?;
                let changes = messages::fold(known, decoded());
                let which = write_messages::write(&mut script, &changes, &self.last_seqs);
                let new = (which, changes.sent());
                self.erasing = Self::noted(&mut script, &changes, tail.offset).or(self.erasing);
                // Forgotten again when the transaction fails.
                write_messages::learn(&mut self.last_seqs, &changes);
                (changes.clockwork, changes.quarantined, Some(new))
            }
            Stream::Receipts => {
                let known = write_receipts::known(
                    connection,
                    receipts::asked(decoded()),
                    known_clockwork,
                    &self.marks,
                )
                .await?;
                let changes = receipts::fold(known, decoded());
                for part in &changes.parts {
                    write_receipts::write(&mut script, part);
                    self.marks.learn(&part.watermarks, |marks| *marks);
                    if part.erased.is_some() {
                        self.marks.forget();
                    }
                }
                (changes.clockwork, changes.quarantined, None)
            }
        };

        add_progress(
            &mut script,
            stream,
            entries,
            (tail, clockwork),
            &quarantined,
        );

        match script.commit(connection).await {
            Ok(changed) => {
                if let Some((which, messages)) = new {
                    self.note_ignored(changed.by(which), messages);
                }
                Ok((clockwork, quarantined))
            }
            Err(error) => {
                // Fails when SQLite has rolled back already. Also after a BEGIN that failed: a
                // transaction that could not be ended before would be in its way for ever.
                let _rolled_back = sqlx::query("ROLLBACK").execute(&mut *connection).await;
                Err(error)
            }
        }
    }

    /// Takes note of messages that were passed over, for their ids were in the file already. A
    /// conversation that is remembered for one of them may hold nothing: the file is asked again.
    fn note_ignored(&mut self, written: u64, messages: usize) {
        let ignored = (messages as u64).saturating_sub(written);
        if ignored == 0 {
            return;
        }
        self.last_seqs.forget();
        let shard = self.shard;
        tracing::error!(%shard, ignored, "messages with ids that are in the file already were not written again");
    }

    /// Takes note of a transaction that is in the file.
    fn written(
        &mut self,
        stream: Stream,
        entries: &[&ApplyEntry],
        tail: Tail,
        clockwork: Clockwork,
    ) {
        for entry in entries {
            let mark = mark(&entry.entry, &entry.bytes);
            self.looked.bytes += mark.bytes;
            self.kept[stream].push(mark);
        }
        self.looked.applies += 1;
        self.clockworks[stream] = clockwork;
        self.dirty_since.get_or_insert_with(Instant::now);
        self.progress.send_modify(|progress| {
            progress.applied[stream] = tail;
            progress.max_epoch = progress.max_epoch.max(clockwork.max_epoch);
        });
    }
}

/// Adds what every transaction writes: raw entries, quarantined records, where the stream stands.
fn add_progress(
    script: &mut Script,
    stream: Stream,
    entries: &[&ApplyEntry],
    (tail, clockwork): (Tail, Clockwork),
    quarantined: &[Quarantined],
) {
    script.rows(&ENTRY, entries, |query, kept| {
        query
            .bind(stream.as_str())
            .bind(int(kept.entry.tail.offset.0))
            .bind(int(time_of_entry(&kept.entry)))
            .bind(kept.bytes.as_ref())
    });
    script.rows(&QUARANTINE, quarantined, |query, row| {
        query
            .bind(stream.as_str())
            .bind(int(row.offset.0))
            .bind(row.reason.as_str())
            .bind(row.bytes.as_ref())
    });

    script.add(SET_PROGRESS, |query| {
        query
            .bind(int(tail.offset.0))
            .bind(tail.chain.0.as_slice())
            .bind(int(clockwork.max_epoch.0))
            .bind(int(clockwork.time))
            .bind(int(clockwork.mark_ts))
            .bind(stream.as_str())
    });
}

/// What keeping an entry goes by.
pub(crate) fn mark(entry: &Entry, bytes: &Bytes) -> Mark {
    Mark {
        last: entry.tail.offset,
        since: Instant::now(),
        bytes: bytes.len() as u64,
    }
}

fn report(shard: ShardId, stream: Stream, quarantined: &[Quarantined]) -> u32 {
    for row in quarantined {
        APPLY_QUARANTINED.add(1, &[("stream", stream.as_str())]);
        let (offset, reason) = (row.offset, row.reason.as_str());
        tracing::error!(%shard, stream = stream.as_str(), %offset, reason, "record quarantined");
    }
    u32::try_from(quarantined.len()).unwrap_or(u32::MAX)
}
