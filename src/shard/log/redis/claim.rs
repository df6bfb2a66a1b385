//! The claim of a shard: on the lane of its master, so that the WAIT behind it covers it.

use redis::{Pipeline, RedisResult, Value};

use crate::shard::log::record::Tail;
use crate::shard::log::redis::CommitLevel;
use crate::shard::log::redis::answer::{Sign, Verdict};
use crate::shard::log::redis::keys::{Keys, control_of, tail_text, token_text};
use crate::shard::log::redis::master::{Cycle, Master};
use crate::shard::log::redis::servers::{Lua, Servers, log_error};
use crate::shard::log::redis::slots::Address;
use crate::shard::log::{Claim, ClaimOutcome, Control, LogError, Stream};
use crate::telemetry::LOG_REDIS_COMMANDS;

const CLAIM: Lua = Lua { text: include_str!("claim.lua") };

/// Servers that one claim is sent to at most: the first, and where that one sends it.
const WAYS_MAX: usize = 3;

/// See the contract. An error leaves it open whether the token is set.
pub(super) async fn claim(servers: &Servers, claim: &Claim) -> Result<ClaimOutcome, LogError> {
    let keys = servers.keys(claim.shard);
    let first = servers.master_of(&keys).await;
    let mut master = first.ok_or_else(|| LogError("no server is known for the shard's slot".to_owned()))?;
    let mut asking = false;
    for _ in 0..WAYS_MAX {
        let address = match run(servers, &master, &keys, claim, asking).await {
            Err(error) => {
                servers.refresh_slots().await;
                return Err(log_error(error));
            }
            Ok((Value::ServerError(error), cycle)) => {
                cycle.end();
                let sign = Verdict::of(&Value::ServerError(error.clone())).sign;
                asking = matches!(sign, Sign::Ask(_));
                elsewhere(servers, &keys, sign).await.ok_or_else(|| LogError(error.to_string()))?
            }
            Ok((answer, cycle)) => return settle(servers, answer, cycle).await,
        };
        master = servers.master(&address);
    }
    Err(LogError("the shard's slot is sent from server to server".to_owned()))
}

/// The server that was named instead. Without one, the claim was refused before it ran.
async fn elsewhere(servers: &Servers, keys: &Keys, sign: Sign) -> Option<Address> {
    match sign {
        Sign::Moved(to) => {
            let address = servers.slots().address(&to)?;
            servers.slots().moved(keys.slot(), &address);
            Some(address)
        }
        Sign::Ask(to) => servers.slots().address(&to),
        Sign::Unserved | Sign::Unanswered => {
            servers.refresh_slots().await;
            None
        }
        _ => None,
    }
}

/// Runs the script on the master's lane; the answer, errors of the server among them.
async fn run<'a>(
    servers: &Servers,
    master: &'a Master,
    keys: &Keys,
    claim: &Claim,
    asking: bool,
) -> RedisResult<(Value, Cycle<'a>)> {
    LOG_REDIS_COMMANDS.add(1, &[("command", "claim")]);
    let mut cycle = master.begin(servers).await?;
    let mut by_text = false;
    loop {
        let mut pipeline = Pipeline::new();
        if asking {
            pipeline.cmd("ASKING");
        }
        pipeline.add_command(evaluation(servers, keys, claim, by_text));
        let answer = cycle.send(&pipeline).await?.pop().unwrap_or(Value::Nil);
        if by_text || Verdict::of(&answer).sign != Sign::NoScript {
            return Ok((answer, cycle));
        }
        by_text = true;
    }
}

fn evaluation(servers: &Servers, keys: &Keys, claim: &Claim, by_text: bool) -> redis::Cmd {
    let [messages, receipts] = Stream::BOTH.map(|stream| keys.stream(stream));
    let (expected, beat) =
        claim.expected.map_or_else(Default::default, |(token, beat)| (token_text(token), beat.to_string()));
    let arguments = [
        expected,
        beat,
        token_text(claim.token),
        claim.token.epoch.0.to_string(),
        claim.owner.to_string(),
        claim.identity.cluster.to_string(),
        claim.identity.shards.to_string(),
        tail_text(&claim.begin_at[0]),
        tail_text(&claim.begin_at[1]),
        claim.begin_at[0].offset.0.to_string(),
        claim.begin_at[1].offset.0.to_string(),
    ];
    let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
    servers.evaluation(&CLAIM, &[keys.control(), messages, receipts], &arguments, by_text)
}

/// What the script answered; when it wrote, at the commit level.
async fn settle(servers: &Servers, answer: Value, mut cycle: Cycle<'_>) -> Result<ClaimOutcome, LogError> {
    let malformed = || LogError("a malformed answer to a claim".to_owned());
    let Value::Array(parts) = answer else { return Err(malformed()) };
    let mut parts = parts.into_iter();
    let (word, control) = (parts.next(), parts.next());
    let Some(Value::BulkString(word)) = word else { return Err(malformed()) };
    match (word.as_slice(), control) {
        (b"CLAIMED", Some(control)) => {
            let control = control_of(control)?.ok_or_else(malformed)?;
            copied(servers, &mut cycle, &control).await?;
            cycle.end();
            Ok(ClaimOutcome::Claimed(control))
        }
        (b"REFUSED", Some(control)) => {
            cycle.end();
            Ok(ClaimOutcome::Refused(control_of(control)?))
        }
        (b"OCCUPIED", None) => {
            cycle.end();
            let line = "the shard has entries but no control record: that was deleted; restore it, or delete both \
                        streams if what they hold may go";
            Err(LogError(line.to_owned()))
        }
        _ => Err(malformed()),
    }
}

/// Waits until every replica that the master reports has the claim: one that is promoted without it would bring the old
/// token back. When there is none, a claim that is its shard's only trace fails at the commit level `replicated`.
async fn copied(servers: &Servers, cycle: &mut Cycle<'_>, control: &Control) -> Result<(), LogError> {
    let mut asking = Pipeline::new();
    asking.cmd("ROLE");
    let answer = cycle.send(&asking).await.map_err(log_error)?;
    let replicas = match answer.first() {
        Some(Value::Array(parts)) => match parts.as_slice() {
            [Value::BulkString(role), _, Value::Array(replicas)] if role == b"master" => replicas.len(),
            _ => return Err(LogError("claimed, but the server is no master any more".to_owned())),
        },
        other => return Err(LogError(format!("claimed, but ROLE answered {other:?}"))),
    };
    let only_trace = control.tails == [Tail::EMPTY; 2];
    let wanted = replicas.max(usize::from(only_trace && servers.config().commit == CommitLevel::Replicated));
    if wanted == 0 {
        return Ok(());
    }
    let mut wait = Pipeline::new();
    wait.add_command(servers.wait_for(wanted));
    match cycle.send(&wait).await.map_err(log_error)?.first() {
        Some(&Value::Int(copies)) if usize::try_from(copies).is_ok_and(|copies| copies >= wanted) => Ok(()),
        other => Err(LogError(format!("claimed, but not on {wanted} replicas: WAIT answered {other:?}"))),
    }
}
