//! One cycle of appends: grouped by master, one pipeline each, side by side; what was redirected goes once more to where
//! it was sent.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use redis::Cmd;

use crate::shard::log::redis::CommitLevel;
use crate::shard::log::redis::answer::{Sign, Verdict};
use crate::shard::log::redis::keys::{Keys, entry_id, tail_text, token_text};
use crate::shard::log::redis::servers::{Lua, Servers};
use crate::shard::log::redis::slots::Address;
use crate::shard::log::{AppendError, AppendOutcome, Batch};
use crate::telemetry::{LOG_REDIS_COMMANDS, LOG_REDIS_CYCLE_BATCHES, LOG_REDIS_CYCLE_SECONDS, LOG_REDIS_WAITS_SHORT};

const APPEND: Lua = Lua { text: include_str!("append.lua") };

/// Where a batch goes: the address, and whether its keys are there before their slot is.
type Way = (Address, bool);

/// Answers in the order of the batches; see the contract.
pub(super) async fn append(servers: &Servers, cycle: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
    let mut verdicts = vec![Verdict::unanswered("no server is known for its slot"); cycle.len()];
    let mut ways = HashMap::<Way, Vec<usize>>::new();
    for (place, batch) in cycle.iter().enumerate() {
        if let Some(master) = servers.master_of(&Keys::of(&servers.config().prefix, batch.shard)).await {
            ways.entry((Arc::clone(master.address()), false)).or_default().push(place);
        }
    }
    send(servers, cycle, ways, &mut verdicts).await;
    let redirected = redirections(servers, cycle, &verdicts);
    if !redirected.is_empty() {
        send(servers, cycle, redirected, &mut verdicts).await;
    }
    let unserved = |verdict: &Verdict| matches!(verdict.sign, Sign::Unserved | Sign::Moved(_) | Sign::Ask(_));
    if verdicts.iter().any(unserved) {
        servers.refresh_slots().await;
    }
    tell(cycle, &verdicts);
    verdicts.into_iter().map(|verdict| verdict.result).collect()
}

async fn send(servers: &Servers, cycle: &[Batch], ways: HashMap<Way, Vec<usize>>, verdicts: &mut [Verdict]) {
    let groups = ways.into_iter().map(|(way, places)| async {
        let group = places.iter().filter_map(|&place| cycle.get(place)).collect();
        (send_group(servers, way, group).await, places)
    });
    for (answers, places) in join_all(groups).await {
        for (place, answer) in places.into_iter().zip(answers) {
            if let Some(verdict) = verdicts.get_mut(place) {
                *verdict = answer;
            }
        }
    }
}

async fn send_group(servers: &Servers, (address, asking): Way, batches: Vec<&Batch>) -> Vec<Verdict> {
    let begun = tokio::time::Instant::now();
    let master = servers.master(&address);
    let command = |place: usize, by_text| match batches.get(place) {
        Some(batch) if asking => vec![redis::cmd("ASKING"), evaluation(servers, batch, by_text)],
        Some(batch) => vec![evaluation(servers, batch, by_text)],
        None => Vec::new(),
    };
    let verdicts = master.append(servers, batches.len(), command).await;
    LOG_REDIS_CYCLE_SECONDS.record(begun.elapsed().as_secs_f64(), &[]);
    LOG_REDIS_CYCLE_BATCHES.record(u32::try_from(batches.len()).map_or(f64::MAX, f64::from), &[]);
    LOG_REDIS_COMMANDS.add(batches.len().try_into().unwrap_or(u64::MAX), &[("command", "append")]);
    verdicts
}

fn evaluation(servers: &Servers, batch: &Batch, by_text: bool) -> Cmd {
    let keys = Keys::of(&servers.config().prefix, batch.shard);
    let (control, stream) = (keys.control(), keys.stream(batch.stream));
    let (token, expected, tail) = (token_text(batch.token), tail_text(&batch.expected), tail_text(&batch.tail));
    let id = entry_id(batch.tail.offset);
    let field = batch.stream.as_str();
    let texts = [&token, &expected, &tail, field, &id].map(str::as_bytes);
    let [token, expected, tail, field, id] = texts;
    let arguments = [token, expected, tail, field, id, &batch.bytes];
    servers.evaluation(&APPEND, &[&control, &stream], &arguments, by_text)
}

/// Those batches that another server was named for, and the way there. A slot that moved is remembered.
fn redirections(servers: &Servers, cycle: &[Batch], verdicts: &[Verdict]) -> HashMap<Way, Vec<usize>> {
    let mut ways = HashMap::<Way, Vec<usize>>::new();
    for (place, (batch, verdict)) in cycle.iter().zip(verdicts).enumerate() {
        let (spelled, asking) = match &verdict.sign {
            Sign::Moved(to) => (to, false),
            Sign::Ask(to) => (to, true),
            _ => continue,
        };
        let Some(address) = servers.slots().address(spelled) else { continue };
        if !asking {
            servers.slots().moved(Keys::of(&servers.config().prefix, batch.shard).slot(), &address);
        }
        ways.entry((address, asking)).or_default().push(place);
    }
    ways
}

/// Logs what a person should know, once a cycle, and counts.
fn tell(cycle: &[Batch], verdicts: &[Verdict]) {
    let mut short = 0;
    let (mut warned, mut broken) = (false, false);
    for (batch, verdict) in cycle.iter().zip(verdicts) {
        let Err(error) = &verdict.result else { continue };
        short += u64::from(matches!(error, AppendError::NotReplicated(_)));
        let (shard, stream) = (batch.shard, batch.stream.as_str());
        match verdict.sign {
            Sign::Broken if !broken => {
                broken = true;
                tracing::error!(%shard, stream, %error, "redis lost a stream: restore it, or adopt the local files");
            }
            Sign::Warn if !warned => {
                warned = true;
                tracing::warn!(%shard, stream, %error, "redis refuses an append");
            }
            _ => {}
        }
    }
    if short > 0 {
        LOG_REDIS_WAITS_SHORT.add(short, &[]);
    }
}

impl Servers {
    /// What ends a cycle at the commit level.
    pub(super) fn wait(&self) -> Option<Cmd> {
        let replicated = self.config().commit == CommitLevel::Replicated;
        replicated.then(|| self.wait_for(1))
    }

    pub(super) fn wait_for(&self, copies: usize) -> Cmd {
        let mut wait = redis::cmd("WAIT");
        // Zero would be for ever.
        let millis = self.config().replica_wait.as_millis().max(1);
        wait.arg(copies).arg(millis.to_string());
        LOG_REDIS_COMMANDS.add(1, &[("command", "wait")]);
        wait
    }
}
