//! The look at many control records at once, each with the lineage of who answered: what a takeover
//! watch goes by.
//!
//! Over a connection per master that nothing else uses: `INFO`, all the records, `INFO` in one
//! pipeline. A connection is to one process, and a server that was a replica in between has another
//! replication id, so when both ends of the pipeline name the same run, replication id and role,
//! all of it was answered by one master with one history. (`INFO` within a script, once for each
//! shard, costs Redis more than everything else in it.)

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use redis::{Pipeline, RedisResult, Value};
use sha2::{Digest, Sha256};

use crate::ids::ShardId;
use crate::log::redis::answer::{Sign, Verdict};
use crate::log::redis::connection::timed_out;
use crate::log::redis::failure::{log_error, server_error};
use crate::log::redis::keys::control_of;
use crate::log::redis::servers::Servers;
use crate::log::redis::slots::Address;
use crate::log::{LogError, Observed};
use crate::telemetry::LOG_REDIS_COMMANDS;

/// Where a record is looked for: the address, and whether its keys are there before their slot is.
type Way = (Address, bool);

/// What became of one record: seen, or where else it is, or why not.
type Seen = Result<Observed, (Sign, LogError)>;

/// See the contract. One silent master holds the call up for half of the time-out, and only its own
/// records fail.
pub(super) async fn observe(
    servers: &Arc<Servers>,
    shards: &[ShardId],
) -> Vec<Result<Observed, LogError>> {
    let unknown = || {
        (
            Sign::Unserved,
            LogError::Unanswered("no server is known for the shard's slot".to_owned()),
        )
    };
    let mut seen: Vec<Seen> = shards.iter().map(|_| Err(unknown())).collect();
    let mut ways = HashMap::<Way, Vec<usize>>::new();
    for (place, &shard) in shards.iter().enumerate() {
        if let Some(address) = servers.slots().master(servers.keys(shard).slot()) {
            ways.entry((address, false)).or_default().push(place);
        }
    }

    look(servers, shards, ways, &mut seen).await;
    let redirected = redirections(servers, shards, &seen);
    if !redirected.is_empty() {
        look(servers, shards, redirected, &mut seen).await;
    }

    let unserved = |one: &Seen| matches!(one, Err((sign, _)) if *sign != Sign::Nothing);
    if seen.iter().any(unserved) {
        // Beside: who is silent now may be asked for the slots, too.
        let servers = Arc::clone(servers);
        drop(tokio::spawn(async move { servers.refresh_slots().await }));
    }

    seen.into_iter()
        .map(|one| one.map_err(|(_, error)| error))
        .collect()
}

async fn look(
    servers: &Servers,
    shards: &[ShardId],
    ways: HashMap<Way, Vec<usize>>,
    seen: &mut [Seen],
) {
    let longest = servers.config().timeout / 2;
    let looks = ways.into_iter().map(|(way, places)| async move {
        let of: Vec<ShardId> = places
            .iter()
            .filter_map(|&place| shards.get(place).copied())
            .collect();
        let looked = tokio::time::timeout(longest, look_there(servers, &way, &of)).await;
        (looked.unwrap_or_else(|_elapsed| Err(timed_out())), places)
    });

    for (looked, places) in join_all(looks).await {
        let mut answers = looked.map_err(log_error).map(Vec::into_iter);
        for place in places {
            let answer = match &mut answers {
                Ok(answers) => answers.next(),
                Err(error) => Some(Err((Sign::Unanswered, error.clone()))),
            };
            if let (Some(one), Some(answer)) = (seen.get_mut(place), answer) {
                *one = answer;
            }
        }
    }
}

/// One pipeline to one master; a connection that failed or was given up is dropped.
async fn look_there(
    servers: &Servers,
    (address, asking): &Way,
    shards: &[ShardId],
) -> RedisResult<Vec<Seen>> {
    LOG_REDIS_COMMANDS.add(1, &[("command", "observe")]);
    let mut pipeline = Pipeline::new();
    pipeline.cmd("INFO").arg("server").arg("replication");
    for &shard in shards {
        if *asking {
            pipeline.cmd("ASKING");
        }
        pipeline.cmd("HGETALL").arg(servers.keys(shard).control());
    }
    pipeline.cmd("INFO").arg("server").arg("replication");
    let master = servers.master(address);
    let mut eye = master.eye().await;
    let mut connection = eye.take(|| servers.connect_watch(address)).await?;
    let answers = connection
        .send_packed_commands(&pipeline, 0, pipeline.len())
        .await?;
    servers.denials().note(address, &answers);
    eye.open = Some(connection);
    drop(eye);

    let lineage = match (
        answers.first().and_then(lineage_of),
        answers.last().and_then(lineage_of),
    ) {
        (Some(before), Some(after)) if before == after => before,
        _ => {
            return Err((
                redis::ErrorKind::Client,
                "the server is no master, or was none for a moment",
            )
                .into());
        }
    };
    let step = if *asking { 2 } else { 1 };
    let records = answers
        .into_iter()
        .skip(step)
        .step_by(step)
        .take(shards.len());
    Ok(records.map(|record| seen_of(record, lineage)).collect())
}

fn seen_of(record: Value, lineage: u64) -> Seen {
    if let Value::ServerError(error) = &record {
        let sign = Verdict::of(&record).sign;
        return Err((sign, server_error(error)));
    }
    let control = control_of(record).map_err(|error| (Sign::Nothing, error))?;
    Ok(Observed { control, lineage })
}

/// The lineage of a master: its run and its history. Another run has forgotten what it did not
/// write to disk; another history is that of a replica that was promoted.
fn lineage_of(told: &Value) -> Option<u64> {
    let Value::BulkString(text) = told else {
        return None;
    };
    let text = std::str::from_utf8(text).ok()?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let mut hash = Sha256::new();
    for name in ["run_id", "master_replid"] {
        hash.update(field(name).filter(|value| !value.is_empty())?);
    }
    let first: [u8; 8] = *hash.finalize().first_chunk()?;
    (field("role")? == "master").then_some(u64::from_be_bytes(first))
}

/// Those records that another server was named for, and the way there. A slot that moved is
/// remembered.
fn redirections(servers: &Servers, shards: &[ShardId], seen: &[Seen]) -> HashMap<Way, Vec<usize>> {
    let mut ways = HashMap::<Way, Vec<usize>>::new();
    for (place, (&shard, one)) in shards.iter().zip(seen).enumerate() {
        let (spelled, asking) = match one {
            Err((Sign::Moved(to), _)) => (to, false),
            Err((Sign::Ask(to), _)) => (to, true),
            _ => continue,
        };
        let Some(address) = servers.slots().address(spelled) else {
            continue;
        };
        if !asking {
            servers.slots().moved(servers.keys(shard).slot(), &address);
        }
        ways.entry((address, asking)).or_default().push(place);
    }

    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(run: &str, role: &str, replid: &str) -> Value {
        let text = format!(
            "# Server\r\nrun_id:{run}\r\n\r\n# \
             Replication\r\nrole:{role}\r\nmaster_replid:{replid}\r\n"
        );
        Value::BulkString(text.into_bytes())
    }

    #[test]
    fn a_lineage_is_that_of_one_run_and_one_history_of_a_master() {
        let lineage = lineage_of(&told("aa", "master", "bb")).expect("a master");
        assert_eq!(lineage_of(&told("aa", "master", "bb")), Some(lineage));
        for (run, replid) in [("ab", "bb"), ("aa", "bc")] {
            assert!(lineage_of(&told(run, "master", replid)).is_some_and(|other| other != lineage));
        }
        for broken in [
            told("aa", "slave", "bb"),
            told("", "master", "bb"),
            Value::Nil,
        ] {
            assert_eq!(lineage_of(&broken), None);
        }
    }
}
