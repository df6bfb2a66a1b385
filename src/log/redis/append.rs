//! One cycle of appends: grouped by master, one pipeline each, side by side; what was redirected
//! goes once more to where it was sent.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use redis::Cmd;

use crate::log::redis::answer::{Sign, Verdict};
use crate::log::redis::keys::{entry_id, tail_text, token_text};
use crate::log::redis::servers::{Lua, Servers};
use crate::log::redis::slots::Address;
use crate::log::{AppendError, AppendOutcome, Batch};
use crate::telemetry::{
    LOG_REDIS_COMMANDS, LOG_REDIS_CYCLE_BATCHES, LOG_REDIS_CYCLE_SECONDS, LOG_REDIS_WAITS_SHORT,
};

const APPEND: Lua = Lua {
    text: include_str!("append.lua"),
};

/// Most bytes of entries in one pipeline.
const PIPELINE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where a batch goes: the address, and whether its keys are there before their slot is.
type Way = (Address, bool);

/// Answers in the order of the batches; see the contract.
pub(super) async fn append(
    servers: &Arc<Servers>,
    cycle: &[Batch],
) -> Vec<Result<AppendOutcome, AppendError>> {
    let mut verdicts = vec![Verdict::unserved(); cycle.len()];
    let mut ways = HashMap::<Way, Vec<usize>>::new();
    if servers.slots().masters().is_empty() {
        servers.refresh_slots().await;
    }

    for (place, batch) in cycle.iter().enumerate() {
        if let Some(master) = servers.slots().master(servers.keys(batch.shard).slot()) {
            ways.entry((master, false)).or_default().push(place);
        }
    }

    send(servers, cycle, ways, &mut verdicts).await;
    let redirected = redirections(servers, cycle, &verdicts);
    if !redirected.is_empty() {
        let again: Vec<usize> = redirected.values().flatten().copied().collect();
        send(servers, cycle, redirected, &mut verdicts).await;
        for place in again {
            if let Some(verdict) = verdicts.get_mut(place) {
                *verdict = verdict.clone().of_another_place();
            }
        }
    }

    let unserved = |verdict: &Verdict| {
        matches!(
            verdict.sign,
            Sign::Unserved | Sign::Unanswered | Sign::Moved(_) | Sign::Ask(_)
        )
    };
    if verdicts.iter().any(unserved) {
        // Beside: those that were answered do not wait for it.
        let servers = Arc::clone(servers);
        drop(tokio::spawn(async move { servers.refresh_slots().await }));
    }

    tell(cycle, &verdicts);
    verdicts.into_iter().map(|verdict| verdict.result).collect()
}

async fn send(
    servers: &Servers,
    cycle: &[Batch],
    ways: HashMap<Way, Vec<usize>>,
    verdicts: &mut [Verdict],
) {
    let groups = ways.into_iter().map(|(way, places)| async {
        let group = places
            .iter()
            .filter_map(|&place| cycle.get(place))
            .collect();
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

/// What goes to one master, in pipelines of bounded size: one that cannot be sent within the
/// time-out would time out for ever. After one without an answer the rest waits for the next cycle.
async fn send_group(
    servers: &Servers,
    (address, asking): Way,
    batches: Vec<&Batch>,
) -> Vec<Verdict> {
    let master = servers.master(&address);
    let mut verdicts = Vec::with_capacity(batches.len());
    while let Some(rest) = batches
        .get(verdicts.len()..)
        .filter(|rest| !rest.is_empty())
    {
        let begun = tokio::time::Instant::now();
        let (now, _later) = rest.split_at(fitting(rest));
        let command = |place: usize, by_text| match now.get(place) {
            Some(batch) if asking => {
                vec![redis::cmd("ASKING"), evaluation(servers, batch, by_text)]
            }
            Some(batch) => vec![evaluation(servers, batch, by_text)],
            None => Vec::new(),
        };
        let answers = master.append(now.len(), command).await;
        LOG_REDIS_CYCLE_SECONDS.record(begun.elapsed().as_secs_f64(), &[]);
        LOG_REDIS_CYCLE_BATCHES.record(u32::try_from(now.len()).map_or(f64::MAX, f64::from), &[]);
        LOG_REDIS_COMMANDS.add(
            now.len().try_into().unwrap_or(u64::MAX),
            &[("command", "append")],
        );
        let failed = answers
            .iter()
            .any(|verdict| verdict.sign == Sign::Unanswered);
        verdicts.extend(answers);
        if failed {
            verdicts.resize(
                batches.len(),
                Verdict::unanswered("not sent, for the one before it was not answered"),
            );
        }
    }

    verdicts
}

/// How many of the first batches one pipeline takes, at least one.
fn fitting(batches: &[&Batch]) -> usize {
    let mut bytes = 0;
    let fits = |batch: &&&Batch| {
        bytes += batch.bytes.len();
        bytes <= PIPELINE_BYTES_MAX
    };
    batches.iter().take_while(fits).count().max(1)
}

fn evaluation(servers: &Servers, batch: &Batch, by_text: bool) -> Cmd {
    let keys = servers.keys(batch.shard);
    let (control, stream) = (keys.control(), keys.stream(batch.stream));
    let texts = [
        token_text(batch.token),
        tail_text(&batch.expected),
        tail_text(&batch.tail),
        batch.stream.as_str().to_owned(),
        entry_id(batch.tail.offset),
    ];
    let [token, expected, tail, field, id] = texts.each_ref().map(String::as_bytes);
    let arguments = [token, expected, tail, field, id, &batch.bytes];
    servers.evaluation(&APPEND, &[control, stream], &arguments, by_text)
}

/// Those batches that another server was named for, and the way there. A slot that moved is
/// remembered.
fn redirections(
    servers: &Servers,
    cycle: &[Batch],
    verdicts: &[Verdict],
) -> HashMap<Way, Vec<usize>> {
    let mut ways = HashMap::<Way, Vec<usize>>::new();
    for (place, (batch, verdict)) in cycle.iter().zip(verdicts).enumerate() {
        let (spelled, asking) = match &verdict.sign {
            Sign::Moved(to) => (to, false),
            Sign::Ask(to) => (to, true),
            _ => continue,
        };
        let Some(address) = servers.slots().address(spelled) else {
            continue;
        };
        if !asking {
            servers
                .slots()
                .moved(servers.keys(batch.shard).slot(), &address);
        }
        ways.entry((address, asking)).or_default().push(place);
    }

    ways
}

/// Logs what a person should know, the first of each kind in a cycle, and counts.
fn tell(cycle: &[Batch], verdicts: &[Verdict]) {
    let first = |sign: Sign| {
        cycle
            .iter()
            .zip(verdicts)
            .find(|(_, verdict)| verdict.sign == sign)
    };

    if let Some((
        batch,
        Verdict {
            result: Err(error), ..
        },
    )) = first(Sign::Broken)
    {
        let (shard, stream) = (batch.shard, batch.stream.as_str());
        tracing::error!(%shard, stream, %error, "redis lost a stream: restore it, or adopt the local files");
    }

    if let Some((
        batch,
        Verdict {
            result: Err(error), ..
        },
    )) = first(Sign::Warn)
    {
        let (shard, stream) = (batch.shard, batch.stream.as_str());
        tracing::warn!(%shard, stream, %error, "redis refuses an append");
    }

    let short = verdicts
        .iter()
        .filter(|verdict| matches!(verdict.result, Err(AppendError::NotReplicated(_))))
        .count();
    if short > 0 {
        LOG_REDIS_WAITS_SHORT.add(short.try_into().unwrap_or(u64::MAX), &[]);
    }
}
