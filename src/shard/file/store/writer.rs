//! The one task that owns the one connection that writes. Its futures are never cancelled: SQLite's
//! thread would commit all the same, and nobody would know.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::ids::{Epoch, Offset, ShardId, UserId};
use crate::log::record::Tail;
use crate::log::{PerStream, Stream};
use crate::shard::file::apply::Clockwork;
use crate::shard::file::store::at_rest::OnDemand;
use crate::shard::file::store::columns::{number, offset, stream as stream_of, tail as tail_of};
use crate::shard::file::store::remembered::LastSeqs;
use crate::shard::file::store::retained::{Mark, Retained};
use crate::shard::file::store::write_receipts::Marks;
use crate::shard::file::store::{ApplyEntry, Config, Progress, StoreError};

const PROGRESS: &str = "SELECT stream, applied, chain, max_epoch, newest_ts, mark_ts FROM progress";

pub(super) const KEPT: &str =
    "SELECT last_offset, length(bytes) FROM entries WHERE stream = ? ORDER BY last_offset";

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
    pub(super) clockworks: PerStream<Clockwork>,
    pub(super) kept: PerStream<Retained>,
    pub(super) last_seqs: LastSeqs,
    pub(super) marks: Marks,
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
