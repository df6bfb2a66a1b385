//! The copy of one shard: begun at its owner, and read piece by piece no faster than it may.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::Method;

use crate::clock::Clock;
use crate::ids::ShardId;
use crate::log::Identity;
use crate::node::link::replica::PIECE_BYTES_MAX;
use crate::operations::backup::{Begun, Stage, begin_path, read_path};
use crate::operations::{AppliedTail, hex};
use crate::process::backup::asked::{Missed, Ports};
use crate::process::backup::folder::Incoming;
use crate::process::backup::manifest::ShardCopy;
use crate::shard::file::snapshot::Snapshot;

/// An owner may write a copy for so long.
const WRITTEN_WITHIN: Duration = Duration::from_secs(3600);

/// Pause before an owner that is writing, and before one that could not, is asked again.
const WRITES: Duration = Duration::from_millis(20);
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// A piece that does not come for so long ends the attempt: others have their turn.
const PIECE_WITHIN: Duration = Duration::from_secs(15);

/// How often it is told how far a large copy is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Copies shards.
pub(super) struct Copying<'a> {
    pub(super) ports: &'a Ports,
    pub(super) folder: &'a Path,
    /// Names this backup to owners.
    pub(super) run: u64,
    /// The cluster that the folder is of, once it is known.
    pub(super) identity: Option<Identity>,
    pub(super) rate: Option<DefaultDirectRateLimiter>,
    /// Told now and then: of which shard, bytes so far, bytes in all.
    pub(super) progress: &'a (dyn Fn(ShardId, u64, u64) + Sync),
}

/// How a shard came to be in the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Copied {
    /// Now.
    Anew(ShardCopy),
    /// It is as it was.
    Unchanged(ShardCopy),
}

/// A rate at which a piece always passes in the end.
pub(super) fn limiter(bytes_per_second: NonZeroU32) -> DefaultDirectRateLimiter {
    RateLimiter::direct(Quota::per_second(bytes_per_second).allow_burst(piece()))
}

/// The most that a piece has.
fn piece() -> NonZeroU32 {
    u32::try_from(PIECE_BYTES_MAX)
        .ok()
        .and_then(NonZeroU32::new)
        .unwrap_or(NonZeroU32::MAX)
}

impl Copying<'_> {
    /// Tries to copy a shard, unless the copy that is known has all of it. `heard` moves whenever
    /// something comes.
    pub(super) async fn attempt(
        &mut self,
        shard: ShardId,
        known: Option<&ShardCopy>,
        heard: &mut Instant,
    ) -> Result<Copied, Missed> {
        let Stage::Ready { id, said } = self.begin(shard, known, heard).await? else {
            // Only what is known can be unchanged.
            let known =
                known.ok_or_else(|| Missed::Again("the owner compared with nothing".to_owned()))?;
            return Ok(Copied::Unchanged(known.clone()));
        };

        let incoming = self.read(shard, (id, &said), heard).await?;
        let file = incoming.finish(shard, &said).map_err(Missed::Never)?;
        let file = file.ok_or_else(|| {
            Missed::Again("what came has not the hash that its owner said".to_owned())
        })?;
        let [messages, receipts] =
            [said.applied.messages, said.applied.receipts].map(|tail| AppliedTail::of(&tail));
        let (bytes, sha256, copied_ms) = (said.length, hex(&said.sha256), Clock::system().now_ms());
        Ok(Copied::Anew(ShardCopy {
            shard: shard.0,
            file,
            bytes,
            sha256,
            messages,
            receipts,
            copied_ms,
        }))
    }

    /// Has the owner write a copy, and waits for it.
    async fn begin(
        &mut self,
        shard: ShardId,
        known: Option<&ShardCopy>,
        heard: &mut Instant,
    ) -> Result<Stage, Missed> {
        let path = begin_path(shard, self.run, known.and_then(ShardCopy::tails));
        let until = Instant::now() + WRITTEN_WITHIN;

        loop {
            let said = self.ports.ask(Method::POST, &path).await?;
            let begun: Begun = serde_json::from_slice(&said).map_err(|error| {
                Missed::Never(format!("the answer is none of an operations port: {error}"))
            })?;
            let of = *self.identity.get_or_insert(begun.identity);
            if of != begun.identity {
                let found = begun.identity.cluster;
                return Err(Missed::Never(format!(
                    "{} has a backup of cluster {}, and this is cluster {found}: give another --to",
                    self.folder.display(),
                    of.cluster
                )));
            }
            if begun.stage != Stage::Preparing {
                return Ok(begun.stage);
            }
            if Instant::now() > until {
                return Err(Missed::Again(
                    "its owner does not get done with writing the copy".to_owned(),
                ));
            }
            *heard = Instant::now();
            tokio::time::sleep(WRITES).await;
        }
    }

    /// Waits until there may be more, after so many bytes of a piece.
    async fn pace(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).ok().and_then(NonZeroU32::new);
        if let (Some(rate), Some(bytes)) = (&self.rate, bytes) {
            // A piece is no larger than a burst: there is always room for it in the end.
            rate.until_n_ready(bytes).await.ok();
        }
    }

    /// Reads a copy to its end.
    async fn read(
        &self,
        shard: ShardId,
        (id, said): (u64, &Snapshot),
        heard: &mut Instant,
    ) -> Result<Incoming, Missed> {
        let mut incoming = Incoming::begin(self.folder, shard).map_err(Missed::Never)?;
        let mut told = Instant::now();
        *heard = told;
        // The last question, at the end, tells the owner that it may drop it.
        while incoming.length() <= said.length {
            let from = incoming.length();
            match self
                .ports
                .ask(Method::GET, &read_path(shard, (self.run, id), from))
                .await
            {
                Ok(bytes) if bytes.is_empty() && from == said.length => break,
                Ok(bytes) if bytes.is_empty() => {
                    return Err(Missed::Again("the copy ends too early".to_owned()));
                }
                Ok(bytes) => {
                    incoming.take(&bytes).map_err(Missed::Never)?;
                    self.pace(bytes.len()).await;
                    *heard = Instant::now();
                }
                // Everything is here; that it cannot be told is no harm.
                Err(_) if from == said.length => break,
                Err(Missed::Again(why)) if heard.elapsed() < PIECE_WITHIN => {
                    tracing::debug!(%shard, why, "a piece did not come; it is asked for again");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(missed) => return Err(missed),
            }
            if told.elapsed() > TELL_EVERY {
                told = Instant::now();
                (self.progress)(shard, incoming.length(), said.length);
            }
        }

        Ok(incoming)
    }
}
