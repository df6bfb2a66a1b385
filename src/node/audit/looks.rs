//! Reads of both sides: how users stand is asked of the conversations' shards, then what their
//! lists say of theirs, one question to each shard, side by side.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::join_all;

use crate::ids::ShardId;
use crate::log::lease::Freshness;
use crate::node::audit::lists::Look;
use crate::node::owners::Owners;
use crate::shard::command::{AuditAsk, AuditTold, Found, Pair, Query, Row, Stand};

/// Pairs that were read, and why others were not, a sentence for each shard.
pub(super) type Looked = (Vec<Look>, Vec<String>);

/// Asks the owner of a shard; only an answer that is proven counts.
pub(super) async fn ask(
    owners: &Owners,
    shard: ShardId,
    ask: AuditAsk,
    deadline: Instant,
) -> Result<AuditTold, String> {
    match owners.query(shard, Query::Audit(ask), deadline).await {
        Ok((Found::Audit(told), Freshness::Strict)) => Ok(told),
        Ok((Found::Audit(_), Freshness::Stale { .. })) => Err(format!(
            "the owner of shard {shard} cannot prove that it owns it"
        )),
        Ok(_) => Err(format!(
            "the owner of shard {shard} answered something else"
        )),
        Err(problem) => Err(format!("the owner of shard {shard}: {problem}")),
    }
}

/// The shard of a pair's user.
pub(super) fn users_shard(owners: &Owners, pair: &Pair) -> ShardId {
    owners.map().shard_of(pair.user.slot())
}

/// The shard of a pair's conversation.
pub(super) fn conversations_shard(owners: &Owners, pair: &Pair) -> ShardId {
    owners.map().shard_of(pair.conversation.slot())
}

/// Reads both sides of these pairs.
pub(super) async fn look(owners: &Owners, pairs: Vec<Pair>, deadline: Instant) -> Looked {
    let (stands, mut missed) = stands_of(owners, pairs, deadline).await;
    let (looks, more) = with_rows(owners, stands, deadline).await;
    missed.extend(more);
    (looks, missed)
}

/// How users stand, of those whose conversations' owners answer.
pub(super) async fn stands_of(
    owners: &Owners,
    pairs: Vec<Pair>,
    deadline: Instant,
) -> (Vec<(Pair, Stand)>, Vec<String>) {
    let by_shard = grouped(pairs, |pair| conversations_shard(owners, pair));
    let asked = by_shard.into_iter().map(|(shard, of)| async move {
        let told = ask(owners, shard, AuditAsk::Stands(of.clone()), deadline).await;
        match told? {
            AuditTold::Stands(stands) => Ok(of.into_iter().zip(stands).collect()),
            _ => Err(format!(
                "the owner of shard {shard} answered something else"
            )),
        }
    });
    gathered(join_all(asked).await)
}

/// The same pairs with the rows of the users' indexes, of those whose owners answer.
pub(super) async fn with_rows(
    owners: &Owners,
    stands: Vec<(Pair, Stand)>,
    deadline: Instant,
) -> Looked {
    let by_shard = grouped(stands, |(pair, _)| users_shard(owners, pair));
    let asked = by_shard.into_iter().map(|(shard, of)| async move {
        let pairs = of.iter().map(|(pair, _)| pair.clone()).collect();
        match ask(owners, shard, AuditAsk::Rows(pairs), deadline).await? {
            AuditTold::Rows(rows) => Ok(looks_of(of, rows)),
            _ => Err(format!(
                "the owner of shard {shard} answered something else"
            )),
        }
    });
    gathered(join_all(asked).await)
}

fn looks_of(stands: Vec<(Pair, Stand)>, rows: Vec<Option<Row>>) -> Vec<Look> {
    let both = stands.into_iter().zip(rows);
    both.map(|((pair, stand), row)| Look { pair, stand, row })
        .collect()
}

/// Items by shard.
pub(super) fn grouped<T>(
    items: Vec<T>,
    shard_of: impl Fn(&T) -> ShardId,
) -> BTreeMap<ShardId, Vec<T>> {
    let mut grouped: BTreeMap<ShardId, Vec<T>> = BTreeMap::new();
    for item in items {
        grouped.entry(shard_of(&item)).or_default().push(item);
    }
    grouped
}

fn gathered<T>(answers: Vec<Result<Vec<T>, String>>) -> (Vec<T>, Vec<String>) {
    let (mut all, mut missed) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(some) => all.extend(some),
            Err(why) => missed.push(why),
        }
    }
    (all, missed)
}
