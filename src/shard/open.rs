//! How a shard comes to be owned: compare log and file, claim, catch up, announce the epoch in both streams, start.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use crate::ids::{Epoch, Offset};
use crate::shard::filter::KeyFilter;
use crate::shard::handle::{Inner, ShardHandle};
use crate::shard::lane::Definite;
use crate::shard::log::record::{Entry, EventKind, OutboxPosition, Record, Tail, seal};
use crate::shard::log::{Batch, Claim, ClaimOutcome, Control, Stream, Token};
use crate::shard::owner::{STAMPED_MS, Setup, StampedKey};
use crate::shard::store::{Progress, Store};
use crate::shard::worker::{Setup as WorkerSetup, Workers, catch_up};
use crate::shard::{Opening, owner};

/// Raw entries read at once while looking for stamped keys.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(super) async fn open(opening: Opening) -> Result<ShardHandle, String> {
    let shard = opening.shard;
    let store = Store::open(&opening.path, opening.identity, shard, opening.config.store.clone())
        .await
        .map_err(|error| error.to_string())?;
    let control = opening.log.control(shard).await.map_err(|error| error.to_string())?;
    check(&opening, control.as_ref(), &store.progress())?;
    let control = claim(&opening, control).await?;
    catch_up(shard, opening.log.as_ref(), &store, control.tails, &opening.config.worker).await?;
    let tails = announce(&opening, &control).await?;
    start(opening, store, control.token, tails).await
}

/// Never an empty history served as if it were the truth.
fn check(opening: &Opening, control: Option<&Control>, progress: &Progress) -> Result<(), String> {
    let shard = opening.shard;
    let path = opening.path.display();
    match control {
        None if progress.applied != [Tail::EMPTY; 2] => Err(format!(
            "shard {shard}: the log knows nothing of this shard, but {path} has records up to {}: \
             the log was lost or is another's; restore it, or move the file away to begin anew without its history",
            progress.applied[0].offset,
        )),
        Some(control) if control.identity != opening.identity => Err(format!(
            "shard {shard}: the log belongs to cluster {} with {} shards, this node to {} with {}",
            control.identity.cluster, control.identity.shards, opening.identity.cluster, opening.identity.shards,
        )),
        _ => Ok(()),
    }
}

async fn claim(opening: &Opening, control: Option<Control>) -> Result<Control, String> {
    let shard = opening.shard;
    let epoch = control.as_ref().map_or(Epoch(0), |control| control.token.epoch).next();
    let claim = Claim {
        shard,
        expected: control.map(|control| (control.token, control.beat)),
        token: Token::new(epoch),
        owner: opening.node.clone(),
        identity: opening.identity,
        begin_at: [Tail::EMPTY; 2],
    };
    match opening.log.claim(claim).await.map_err(|error| error.to_string())? {
        ClaimOutcome::Claimed(claimed) => Ok(claimed),
        ClaimOutcome::Refused(found) => {
            let owner = found.map_or_else(|| "no one".to_owned(), |found| found.owner.to_string());
            Err(format!("shard {shard}: the claim was refused; its owner is {owner}"))
        }
    }
}

/// Appends an epoch-start record to both streams.
async fn announce(opening: &Opening, control: &Control) -> Result<[Tail; 2], String> {
    let mut tails = control.tails;
    for (stream, tail) in Stream::BOTH.into_iter().zip(&mut tails) {
        let ts = opening.clock.now_ms();
        let record = Record::EpochStart { epoch: control.token.epoch, node: opening.node.clone(), ts };
        let (bytes, after) = seal(tail, control.token.epoch, &[record.encode()]);
        let batch = Batch { shard: opening.shard, stream, token: control.token, expected: *tail, tail: after, bytes };
        match opening.lane.append(batch).await {
            Ok(Definite::Committed) => *tail = after,
            Ok(end) => return Err(format!("shard {}: the first append was not accepted: {end:?}", opening.shard)),
            Err(_) => return Err(format!("shard {}: the append lane has ended", opening.shard)),
        }
    }
    Ok(tails)
}

async fn start(opening: Opening, store: Store, token: Token, tails: [Tail; 2]) -> Result<ShardHandle, String> {
    let now_ms = opening.clock.now_ms();
    let mut filter = KeyFilter::new(now_ms);
    let (keys, _) = store.recent_keys(now_ms).await.map_err(|error| error.to_string())?;
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
    owner::spawn(Setup {
        shard: opening.shard,
        token,
        tails,
        store: store.clone(),
        lane: opening.lane,
        clock: opening.clock.clone(),
        filter,
        stamped,
        heads_max: opening.config.heads_max,
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
    })))
}

/// Keys that routers stamped in the last minute, out of the raw entries: a router may still retry with them.
async fn stamped_keys(store: &Store, now_ms: u64) -> Result<Vec<StampedKey>, String> {
    let begun = Instant::now();
    let mut found = Vec::new();
    let mut after = Offset(0);
    loop {
        let kept =
            store.kept_entries(Stream::Messages, after, KEPT_BYTES_MAX).await.map_err(|error| error.to_string())?;
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
