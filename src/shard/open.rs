//! How a shard comes to be owned: compare log and file, claim, catch up, announce the epoch in both streams, start.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use crate::ids::{Epoch, Offset, ShardId};
use crate::shard::filter::KeyFilter;
use crate::shard::handle::{Inner, ShardHandle};
use crate::shard::lane::Definite;
use crate::shard::lease::Lease;
use crate::shard::log::record::{Entry, EventKind, OutboxPosition, Record, Tail, seal};
use crate::shard::log::{Batch, Claim, ClaimOutcome, Control, LogError, Stream, Token};
use crate::shard::owner::{STAMPED_MS, Setup, StampedKey};
use crate::shard::store::{Progress, Store, StoreError};
use crate::shard::worker::{Setup as WorkerSetup, Workers, catch_up};
use crate::shard::{Opening, adopt, owner, store};

/// Claims in a row while only the beat moves.
const CLAIMS_MAX: u32 = 8;
/// Raw entries read at once while looking for stamped keys.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a shard is not opened: one clear line for the operator. Nothing was served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Will not mend by itself: another cluster's log, history missing, a file that does not link to the log or is
    /// damaged.
    #[error("{0}")]
    Refused(String),
    /// Another node owns the shard; it may be opened here when that has given it up.
    #[error("{0}")]
    Elsewhere(String),
    /// May pass: the log does not answer, a claim was raced, the disk is busy.
    #[error("{0}")]
    Failed(String),
}

impl From<store::OpenError> for OpenError {
    fn from(error: store::OpenError) -> Self {
        use store::OpenError::{Foreign, OldSqlite, Sqlite, Unusable};
        match error {
            Foreign { .. } | OldSqlite(_) | Unusable { .. } => Self::Refused(error.to_string()),
            Sqlite { .. } => Self::Failed(error.to_string()),
        }
    }
}

impl From<LogError> for OpenError {
    fn from(error: LogError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

pub(super) async fn open(opening: Opening) -> Result<ShardHandle, OpenError> {
    let shard = opening.shard;
    let store = Store::open(&opening.path, opening.identity, shard, opening.config.store.clone()).await?;
    let control = opening.log.control(shard).await?;
    check(&opening, control.as_ref(), &store.progress())?;
    let epoch = next_epoch(shard, control.as_ref(), store.progress().max_epoch);
    let begin_at = if control.is_none() { adopt::begin_at(&store).await? } else { [Tail::EMPTY; 2] };
    let control = claim(&opening, (control, begin_at), epoch).await?;
    let control = adopt::restore(&opening, &store, control).await?;
    catch_up(shard, opening.log.as_ref(), &store, control.tails, &opening.config.worker).await?;
    // The first appends prove the ownership as well as the claim does, and later.
    let sent = opening.clock.since_boot();
    let tails = announce(&opening, &control).await?;
    let lease = Arc::new(Lease::new(opening.config.takeover_watch, sent));
    start(opening, store, (control.token, tails), lease).await
}

/// Never an empty history served as if it were the truth, and never a shard that another node owns.
fn check(opening: &Opening, control: Option<&Control>, progress: &Progress) -> Result<(), OpenError> {
    let shard = opening.shard;
    let path = opening.path.display();
    match control {
        None if progress.applied != [Tail::EMPTY; 2] && !opening.config.adopt_local => {
            Err(OpenError::Refused(format!(
                "shard {shard}: the log knows nothing of this shard, but {path} has records up to {}: \
             the log was lost or is another's; restore it, or make it anew from the file with `rookery node --adopt-local`",
                progress.applied[0].offset,
            )))
        }
        Some(control) if control.identity != opening.identity => Err(OpenError::Refused(format!(
            "shard {shard}: the log belongs to cluster {} with {} shards, this node to {} with {}",
            control.identity.cluster, control.identity.shards, opening.identity.cluster, opening.identity.shards,
        ))),
        // Our own earlier claim, also one whose answer was lost, is ours: our folder's lock says that nobody else uses it.
        Some(control) if control.owner != opening.node => Err(OpenError::Elsewhere(format!(
            "shard {shard}: owned by {}, and this is {}; it is served there, or nowhere until that node is back",
            control.owner, opening.node,
        ))),
        _ => Ok(()),
    }
}

/// Above every epoch that the log or the file knows: a log that fell back may have forgotten some.
fn next_epoch(shard: ShardId, control: Option<&Control>, of_file: Epoch) -> Epoch {
    let of_log = control.map_or(Epoch(0), |control| control.token.epoch);
    if control.is_some() && of_log < of_file {
        tracing::warn!(%shard, %of_log, %of_file, "the log fell back: its epoch is lower than one that was applied here");
    }
    of_log.max(of_file).next()
}

async fn claim(
    opening: &Opening,
    (control, begin_at): (Option<Control>, [Tail; 2]),
    epoch: Epoch,
) -> Result<Control, OpenError> {
    let shard = opening.shard;
    let mut claim = Claim {
        shard,
        expected: control.map(|control| (control.token, control.beat)),
        token: Token::new(epoch),
        owner: opening.node.clone(),
        identity: opening.identity,
        begin_at,
    };
    for _ in 1..CLAIMS_MAX {
        match opening.log.claim(claim.clone()).await? {
            ClaimOutcome::Claimed(claimed) => return Ok(claimed),
            // Only the beat moved: a batch of our own former self, still on its way.
            ClaimOutcome::Refused(Some(found))
                if found.owner == opening.node && claim.expected.is_some_and(|(token, _)| token == found.token) =>
            {
                claim.expected = Some((found.token, found.beat));
            }
            ClaimOutcome::Refused(found) => return Err(refused(shard, found.as_ref())),
        }
    }
    Err(refused(shard, None))
}

fn refused(shard: ShardId, found: Option<&Control>) -> OpenError {
    let owner = found.map_or_else(|| "no one, or it changes".to_owned(), |found| found.owner.to_string());
    OpenError::Failed(format!("shard {shard}: the claim was refused; its owner is {owner}"))
}

/// Appends an epoch-start record to both streams.
async fn announce(opening: &Opening, control: &Control) -> Result<[Tail; 2], OpenError> {
    let mut tails = control.tails;
    for (stream, tail) in Stream::BOTH.into_iter().zip(&mut tails) {
        let ts = opening.clock.now_ms();
        let record = Record::EpochStart { epoch: control.token.epoch, node: opening.node.clone(), ts };
        let (bytes, after) = seal(tail, control.token.epoch, &[record.encode()]);
        let batch = Batch { shard: opening.shard, stream, token: control.token, expected: *tail, tail: after, bytes };
        match opening.lane.append(batch).await {
            Ok(Definite::Committed) => *tail = after,
            Ok(end) => {
                let line = format!("shard {}: the first append was not accepted: {end:?}", opening.shard);
                return Err(OpenError::Failed(line));
            }
            Err(_) => return Err(OpenError::Failed(format!("shard {}: the append lane has ended", opening.shard))),
        }
    }
    Ok(tails)
}

async fn start(
    opening: Opening,
    store: Store,
    (token, tails): (Token, [Tail; 2]),
    lease: Arc<Lease>,
) -> Result<ShardHandle, OpenError> {
    let now_ms = opening.clock.now_ms();
    let mut filter = KeyFilter::new(now_ms);
    let (keys, _) = store.recent_keys(now_ms).await?;
    for (conversation, sender, key) in keys {
        filter.insert(&conversation, &sender, &key, now_ms);
    }
    let stamped = stamped_keys(&store, now_ms).await?;
    let committed = tails.map(|tail| Arc::new(watch::Sender::new(tail)));
    let workers = Workers::spawn(WorkerSetup {
        shard: opening.shard,
        log: Arc::clone(&opening.log),
        store: store.clone(),
        token,
        committed: [committed[0].subscribe(), committed[1].subscribe()],
        config: opening.config.worker.clone(),
    });
    let (inputs, taken) = mpsc::channel(opening.config.queue_max);
    let (closing, closed) = watch::channel(false);
    let outbox_due = Arc::new(watch::Sender::new(tails[0].offset));
    let lane = opening.lane.clone();
    owner::spawn(Setup {
        shard: opening.shard,
        token,
        tails,
        store: store.clone(),
        lane: opening.lane,
        clock: opening.clock.clone(),
        lease: Arc::clone(&lease),
        filter,
        stamped,
        heads_max: opening.config.heads_max,
        queue_max: opening.config.queue_max,
        stream_bytes_max: opening.config.stream_bytes_max,
        inputs: taken,
        committed: committed.clone(),
        applied: Stream::BOTH.map(|stream| workers.applied(stream)),
        trimmed: workers.trimmed(),
        outbox_due: Arc::clone(&outbox_due),
        closed: closing,
    });
    Ok(ShardHandle(Arc::new(Inner {
        shard: opening.shard,
        node: opening.node,
        token,
        applied: Stream::BOTH.map(|stream| workers.applied(stream)),
        durable: workers.durable(),
        workers: Mutex::new(Some(workers)),
        store,
        clock: opening.clock,
        config: opening.config,
        inputs,
        committed,
        outbox_due,
        outbox_done: watch::Sender::new(OutboxPosition::default()),
        closed,
        lease,
        lane,
    })))
}

/// Keys that routers stamped in the last minute, out of the raw entries: a router may still retry with them.
async fn stamped_keys(store: &Store, now_ms: u64) -> Result<Vec<StampedKey>, StoreError> {
    let begun = Instant::now();
    let mut found = Vec::new();
    let mut after = Offset(0);
    loop {
        let kept = store.kept_entries(Stream::Messages, after, KEPT_BYTES_MAX).await?;
        let Some(last) = kept.last() else { break };
        after = last.last;
        for entry in &kept {
            found.extend(Entry::records_of(&entry.bytes).iter().filter_map(|record| stamped_key(record, now_ms)));
        }
    }
    tracing::debug!(keys = found.len(), seconds = begun.elapsed().as_secs_f64(), "stamped keys read back");
    Ok(found)
}

fn stamped_key(record: &Record, now_ms: u64) -> Option<StampedKey> {
    let Record::Event(event) = record else { return None };
    // A creation is recognised by the conversation itself.
    let EventKind::Message { source, .. } = &event.kind else { return None };
    let key = event.key.as_ref().filter(|key| key.stamped)?;
    (event.created + STAMPED_MS > now_ms).then(|| StampedKey {
        conversation: event.conversation.clone(),
        sender: source.clone(),
        key: Arc::clone(&key.key),
        fingerprint: key.fingerprint,
        seq: event.seq,
        at_ms: event.created,
    })
}
