//! The one task that owns the one connection that writes. Its futures are never cancelled: SQLite's
//! thread would commit all the same, and nobody would know.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::ids::{Epoch, Offset, ShardId, UserId};
use crate::log::record::{Entry, Tail};
use crate::log::{PerStream, Stream};
use crate::shard::file::apply::{Clockwork, Quarantined, messages, receipts, time_of_entry};
use crate::shard::file::store::at_rest::OnDemand;
use crate::shard::file::store::columns::{
    int, number, offset, stream as stream_of, tail as tail_of,
};
use crate::shard::file::store::retained::{Mark, Retained};
use crate::shard::file::store::script::{Multi, Script};
use crate::shard::file::store::write_messages::LastSeqs;
use crate::shard::file::store::write_receipts::Marks;
use crate::shard::file::store::{
    ApplyEntry, Config, Progress, StoreError, write_messages, write_receipts,
};
use crate::telemetry::APPLY_QUARANTINED;

const PROGRESS: &str = "SELECT stream, applied, chain, max_epoch, newest_ts, mark_ts FROM progress";
const SET_PROGRESS: &str = "UPDATE progress SET applied = ?, chain = ?, max_epoch = ?, newest_ts = ?, mark_ts = ? WHERE stream = ?";
pub(super) const KEPT: &str =
    "SELECT last_offset, length(bytes) FROM entries WHERE stream = ? ORDER BY last_offset";
const ENTRY: Multi = Multi::insert(
    "INSERT INTO entries (stream, last_offset, ts, bytes)",
    "(?, ?, ?, ?)",
);
const QUARANTINE: Multi = Multi::insert(
    "INSERT OR REPLACE INTO quarantine (stream, \"offset\", reason, bytes)",
    "(?, ?, ?, ?)",
);

/// What the writer is asked to do. The answers may be dropped.
#[derive(Debug)]
pub(super) enum Ask {
    /// Apply entries of a stream; answers how many records were quarantined.
    Apply(
        Stream,
        Arc<[ApplyEntry]>,
        oneshot::Sender<Result<u32, StoreError>>,
    ),
    /// Checkpoint.
    Checkpoint(oneshot::Sender<Result<Progress, StoreError>>),
    /// What raw entries are kept.
    Kept(Stream, oneshot::Sender<Retained>),
    /// Write down when users were seen last.
    Seen(Vec<(UserId, u64)>, oneshot::Sender<Result<(), StoreError>>),
    /// Checkpoint and end.
    Close(oneshot::Sender<()>),
    /// Run a statement on the writer's connection.
    #[cfg(test)]
    Execute(&'static str, oneshot::Sender<Result<(), StoreError>>),
}

/// The owner of the connection.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: OnDemand,
    pub(super) config: Config,
    pub(super) shard: ShardId,
    pub(super) progress: watch::Sender<Progress>,
    clockworks: PerStream<Clockwork>,
    pub(super) kept: PerStream<Retained>,
    last_seqs: LastSeqs,
    marks: Marks,
    /// A write failed and may yet have happened: look before the next one.
    pub(super) uncertain: bool,
    /// When the first apply since the last checkpoint was.
    pub(super) dirty_since: Option<Instant>,
    pub(super) looked: Looked,
    /// Entries up to here, and the WAL, may hold what was written over.
    pub(super) erasing: Option<Offset>,
    /// The last write failed for want of space.
    pub(super) full: Arc<AtomicBool>,
    /// The last checkpoint failed, and that was told.
    pub(super) checkpoint_fails: bool,
}

/// What was applied since the length of the WAL was last looked at.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) bytes: u64,
    pub(super) applies: u32,
}

impl Writer {
    /// Takes over the connection of a file that is ours and migrated.
    pub(super) async fn start(
        connection: OnDemand,
        shard: ShardId,
        config: Config,
        full: Arc<AtomicBool>,
    ) -> Result<(Self, watch::Receiver<Progress>), StoreError> {
        let (progress, receiver) = watch::channel(Progress::default());
        let mut writer = Self {
            connection,
            config,
            shard,
            progress,
            clockworks: Default::default(),
            kept: Default::default(),
            last_seqs: LastSeqs::default(),
            marks: Marks::default(),
            uncertain: false,
            dirty_since: None,
            looked: Looked::default(),
            erasing: None,
            full,
            checkpoint_fails: false,
        };
        writer.look_up_progress().await?;
        // What an earlier process left in the WAL may not be on disk yet: this makes it so, and
        // `durable` true.
        writer.checkpoint_now("PASSIVE").await?;
        Ok((writer, receiver))
    }

    /// Works until all senders are gone or it is told to close.
    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        loop {
            let due = self
                .dirty_since
                .map(|since| since + self.config.checkpoint_every);
            // What is not checkpointed yet will need the connection soon.
            let rest = self
                .connection
                .rests_at()
                .filter(|_| due.is_none() && !self.uncertain);

            let ask = tokio::select! {
                ask = asked.recv() => ask,
                () = until(due) => {
                    self.checkpoint_quietly().await;
                    continue;
                }
                () = until(rest) => {
                    self.connection.close(self.shard).await;
                    continue;
                }
            };
            let Some(ask) = ask else { break };
            if let Some(closed) = self.answer(ask).await {
                self.close().await;
                let _gone = closed.send(());
                return;
            }
        }
        self.close().await;
    }

    async fn close(mut self) {
        self.note_full(false);
        self.connection.close(self.shard).await;
    }

    async fn answer(&mut self, ask: Ask) -> Option<oneshot::Sender<()>> {
        match ask {
            Ask::Apply(stream, entries, reply) => {
                let applied = self.apply(stream, &entries).await;
                let worked = applied.is_ok();
                let _gone = reply.send(applied);
                if worked && self.is_checkpoint_due().await {
                    self.checkpoint_quietly().await;
                }
            }
            Ask::Checkpoint(reply) => {
                let done = self.checkpoint("PASSIVE").await;
                let _gone = reply.send(done);
            }
            Ask::Kept(stream, reply) => {
                let _gone = reply.send(self.kept[stream].clone());
            }
            Ask::Seen(rows, reply) => {
                let written = self.write_seen(&rows).await;
                let _gone = reply.send(written);
            }
            Ask::Close(reply) => {
                if let Err(error) = self.checkpoint("TRUNCATE").await {
                    tracing::warn!(shard = %self.shard, %error, "last checkpoint failed, the WAL stays");
                }
                return Some(reply);
            }
            #[cfg(test)]
            Ask::Execute(sql, reply) => {
                let _gone = reply.send(self.execute(sql).await);
            }
        }
        None
    }

    async fn apply(&mut self, stream: Stream, entries: &[ApplyEntry]) -> Result<u32, StoreError> {
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
                let new = (write_messages::write(&mut script, &changes), changes.sent());
                self.erasing = Self::noted(&mut script, &changes, tail.offset).or(self.erasing);
                // Forgotten again when the transaction fails.
                self.last_seqs.learn(&changes.stands, |(seq, _)| *seq);
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
                write_receipts::write(&mut script, &changes);
                self.marks.learn(&changes.watermarks, |marks| *marks);
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
                    report_ignored(self.shard, changed.by(which), messages);
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

    /// Something beside the streams was written, which a checkpoint is to take into the file.
    pub(super) fn note_write(&mut self) {
        self.dirty_since.get_or_insert_with(Instant::now);
    }

    /// After a write that failed, looks where the file stands; over a new connection when the old
    /// one is broken.
    pub(super) async fn be_certain(&mut self) -> Result<(), StoreError> {
        if !self.uncertain {
            return Ok(());
        }
        if let Err(error) = self.look_up_progress().await {
            if !self.full.load(Ordering::Relaxed) {
                tracing::warn!(shard = %self.shard, %error, "the file is opened again");
            }
            self.connection.connect_again().await?;
            self.look_up_progress().await?;
        }
        Ok(())
    }

    /// Reads where the file stands, and what raw entries it holds.
    pub(super) async fn look_up_progress(&mut self) -> Result<(), StoreError> {
        let connection = self.connection.get().await?;
        let mut applied = PerStream::both(Tail::EMPTY);
        for row in sqlx::query(PROGRESS).fetch_all(&mut *connection).await? {
            let stream = stream_of(&row, 0)?;
            applied[stream] = tail_of(&row, 1, 2)?;
            self.clockworks[stream] = Clockwork {
                max_epoch: Epoch(number(&row, 3)?),
                time: number(&row, 4)?,
                mark_ts: number(&row, 5)?,
            };
        }
        for stream in Stream::BOTH {
            let mut kept = Retained::default();
            for row in sqlx::query(KEPT)
                .bind(stream.as_str())
                .fetch_all(&mut *connection)
                .await?
            {
                // How old they are nobody knows: they stay as long as if they had come now.
                kept.push(Mark {
                    last: offset(&row, 0)?,
                    since: Instant::now(),
                    bytes: number(&row, 1)?,
                });
            }
            self.kept[stream] = kept;
        }
        self.look_up_erasing().await?;
        let max_epoch = self
            .clockworks
            .messages
            .max_epoch
            .max(self.clockworks.receipts.max_epoch);
        self.progress
            .send_modify(|progress| (progress.applied, progress.max_epoch) = (applied, max_epoch));
        self.uncertain = false;
        Ok(())
    }
}

#[cfg(test)]
impl Writer {
    async fn execute(&mut self, sql: &'static str) -> Result<(), StoreError> {
        let connection = self.connection.get().await?;
        sqlx::query(sql).fetch_all(connection).await?;
        Ok(())
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

fn report_ignored(shard: ShardId, written: u64, messages: usize) {
    let ignored = (messages as u64).saturating_sub(written);
    if ignored > 0 {
        tracing::error!(%shard, ignored, "messages with ids that are in the file already were not written again");
    }
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

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Where the file is, for messages.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}
