//! The claim of a shard: on a connection to its master that nothing else uses meanwhile, so that
//! the WAIT behind it covers it and holds up nothing else.

use std::time::Duration;

use redis::{Pipeline, RedisResult, Value};
use tokio::time::Instant;

use crate::log::record::Tail;
use crate::log::redis::CommitLevel;
use crate::log::redis::answer::{Sign, Verdict};
use crate::log::redis::copies;
use crate::log::redis::failure::{log_error, server_error};
use crate::log::redis::keys::{Keys, control_of, tail_text, token_text};
use crate::log::redis::master::{Cycle, Master};
use crate::log::redis::servers::{Lua, Servers};
use crate::log::redis::slots::Address;
use crate::log::{Claim, ClaimOutcome, Control, LogError, PerStream, Stream};
use crate::telemetry::LOG_REDIS_COMMANDS;

const CLAIM: Lua = Lua {
    text: include_str!("claim.lua"),
};

/// Servers that one claim is sent to at most: the first, and where that one sends it.
const WAYS_MAX: usize = 3;
/// How long replicas are waited for. One that hangs is known by then: it has not acknowledged for
/// more than 2 s.
const COPIED_WITHIN: Duration = Duration::from_secs(4);

/// See the contract. An error leaves it open whether the token is set.
pub(super) async fn claim(servers: &Servers, claim: &Claim) -> Result<ClaimOutcome, LogError> {
    let keys = servers.keys(claim.shard);
    let first = servers.master_of(&keys).await;
    let mut master = first.ok_or_else(|| {
        LogError::Unanswered("no server is known for the shard's slot".to_owned())
    })?;

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
                elsewhere(servers, &keys, sign)
                    .await
                    .ok_or_else(|| server_error(&error))?
            }
            Ok((answer, cycle)) => return settle(servers, answer, cycle).await,
        };
        master = servers.master(&address);
    }

    Err(LogError::Unanswered(
        "the shard's slot is sent from server to server".to_owned(),
    ))
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

/// Runs the script at the master; the answer, errors of the server among them.
async fn run<'a>(
    servers: &Servers,
    master: &'a Master,
    keys: &Keys,
    claim: &Claim,
    asking: bool,
) -> RedisResult<(Value, Cycle<'a>)> {
    LOG_REDIS_COMMANDS.add(1, &[("command", "claim")]);
    let mut cycle = master.begin_claim().await?;
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
    let (expected, beat) = claim
        .expected
        .map_or_else(Default::default, |(token, beat)| {
            (token_text(token), beat.to_string())
        });
    let arguments = [
        expected,
        beat,
        token_text(claim.token),
        claim.token.epoch.0.to_string(),
        claim.owner.to_string(),
        claim.identity.cluster.to_string(),
        claim.identity.shards.to_string(),
        tail_text(&claim.begin_at.messages),
        tail_text(&claim.begin_at.receipts),
        claim.begin_at.messages.offset.0.to_string(),
        claim.begin_at.receipts.offset.0.to_string(),
        claim
            .ends_at
            .map(|tails| tail_text(&tails.messages))
            .unwrap_or_default(),
        claim
            .ends_at
            .map(|tails| tail_text(&tails.receipts))
            .unwrap_or_default(),
    ];

    let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
    servers.evaluation(
        &CLAIM,
        &[
            keys.control(),
            keys.stream(Stream::Messages),
            keys.stream(Stream::Receipts),
        ],
        &arguments,
        by_text,
    )
}

/// What the script answered; when it wrote, at the commit level.
async fn settle(
    servers: &Servers,
    answer: Value,
    mut cycle: Cycle<'_>,
) -> Result<ClaimOutcome, LogError> {
    let malformed = || LogError::Malformed("a malformed answer to a claim".to_owned());
    let Value::Array(parts) = answer else {
        return Err(malformed());
    };

    let mut parts = parts.into_iter();
    let (word, control) = (parts.next(), parts.next());
    let Some(Value::BulkString(word)) = word else {
        return Err(malformed());
    };

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
            Err(LogError::Malformed(line.to_owned()))
        }
        _ => Err(malformed()),
    }
}

/// Waits until every replica that still answers the master has the claim: one that is promoted
/// without it would bring the old token back. A replica that hangs is not waited for, as one that
/// is gone is not; see `docs/adr/0012-redis-log.md`. When there is none, a claim that is its
/// shard's only trace fails at the commit level `replicated`.
async fn copied(
    servers: &Servers,
    cycle: &mut Cycle<'_>,
    control: &Control,
) -> Result<(), LogError> {
    let only_trace = control.tails == PerStream::both(Tail::EMPTY)
        && servers.config().commit == CommitLevel::Replicated;
    let until = Instant::now() + COPIED_WITHIN;
    loop {
        // What is told after the end of the time is looked at once, too.
        let is_last = Instant::now() >= until;
        let told = one(cycle, copies::question()).await?;
        let alive = copies::replicas(&told);
        let alive = alive.ok_or_else(|| {
            LogError::Failed("claimed, but the server is no master any more".to_owned())
        })?;
        let wanted = alive.max(usize::from(only_trace));
        if wanted == 0 {
            return Ok(());
        }

        let copies = one(cycle, copies::wait_for(servers.config(), wanted)).await?;
        let enough = matches!(copies, Value::Int(copies) if usize::try_from(copies).is_ok_and(|copies| copies >= wanted));
        if enough {
            return Ok(());
        }
        let may_change = matches!(copies, Value::Int(_)) && alive > 0;
        if !may_change || is_last {
            return Err(LogError::Failed(format!(
                "claimed, but not on {wanted} replicas: WAIT answered {copies:?}"
            )));
        }
    }
}

/// One command on the connection of the claim.
async fn one(cycle: &mut Cycle<'_>, command: redis::Cmd) -> Result<Value, LogError> {
    let mut alone = Pipeline::new();
    alone.add_command(command);
    Ok(cycle
        .send(&alone)
        .await
        .map_err(log_error)?
        .pop()
        .unwrap_or(Value::Nil))
}
