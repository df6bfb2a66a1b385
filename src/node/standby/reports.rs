//! How the standbys of this node tell the owners of their shards where they stand: every second,
//! and at once when one has begun, or follows no more or again. One request per owning node,
//! whatever the number of shards.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::ids::{Epoch, NodeId, Offset, ShardId};
use crate::node::link::frame::{Body, Outcome};
use crate::node::owners::Owners;
use crate::shard::replicas::{Following, ReplicaStatus};

/// How often every standby is reported.
const EVERY: Duration = Duration::from_secs(1);

/// How often it is looked for one that has to be reported at once.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Longest wait for an owner to take a report.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Statuses in one request.
const STATUSES_MAX: usize = 4_096;

/// Reports, for ever.
pub(in crate::node) async fn run(owners: Owners) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reported = Reported::default();
    loop {
        look.tick().await;
        let statuses = owners
            .standbys()
            .iter()
            .map(|standby| standby.status())
            .collect();
        let due = reported.due(statuses, Instant::now());
        if !due.is_empty() {
            report(&owners, due).await;
        }
    }
}

/// What was reported last.
#[derive(Debug, Default)]
struct Reported {
    last: HashMap<ShardId, (Following, [bool; 2])>,
    at: Option<Instant>,
}

impl Reported {
    /// Which of these are to be reported now: all of them when it is time, else those that are new
    /// or changed.
    fn due(&mut self, statuses: Vec<ReplicaStatus>, now: Instant) -> Vec<ReplicaStatus> {
        let all = self.at.is_none_or(|at| now.duration_since(at) >= EVERY);
        if all {
            self.at = Some(now);
            self.last.clear();
        }
        let news = |status: &ReplicaStatus| {
            let begun = [status.applied, status.durable]
                .map(|tails| !tails.all(|tail| tail.offset == Offset(0)));
            let said = (status.following.clone(), begun);
            let before = self.last.insert(status.shard, said.clone());
            all || before != Some(said)
        };
        statuses.into_iter().filter(news).collect()
    }
}

/// One request to each owner by the table, side by side.
async fn report(owners: &Owners, statuses: Vec<ReplicaStatus>) {
    let table = owners.table();
    let mut by_owner = BTreeMap::<NodeId, Vec<ReplicaStatus>>::new();
    for status in statuses {
        // Where the row is behind and names this node first, there is nobody to tell.
        if let Some(owner) = table
            .owner(status.shard)
            .filter(|owner| *owner != owners.node())
        {
            by_owner.entry(owner.clone()).or_default().push(status);
        }
    }

    let deadline = Instant::now() + ANSWER_MAX;
    let told = by_owner
        .iter()
        .flat_map(|(owner, all)| all.chunks(STATUSES_MAX).map(move |some| (owner, some)));
    let telling = told.map(|(owner, some)| async move {
        let answer = owners
            .ask_node(owner, Body::Reports(some.to_vec()), deadline)
            .await;
        if let Some(Outcome::Reported(epochs)) = answer {
            note_stale(owner, some, &epochs);
        }
    });
    join_all(telling).await;
}

/// An owner whose epoch is lower than one that a standby has applied does not know yet that the
/// shard was taken from it.
fn note_stale(owner: &NodeId, statuses: &[ReplicaStatus], epochs: &[Option<Epoch>]) {
    for (status, epoch) in statuses.iter().zip(epochs) {
        if let Some(epoch) = epoch.filter(|epoch| *epoch < status.max_epoch) {
            tracing::warn!(shard = %status.shard, %owner, %epoch, applied = %status.max_epoch, "the owner by the table has an old epoch");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::link::Config;
    use crate::log::PerStream;
    use crate::log::record::Tail;
    use crate::node::owners::testing::{Fake, Pair, eventually};

    fn status(shard: u16, following: Following) -> ReplicaStatus {
        ReplicaStatus {
            shard: ShardId(shard),
            node: NodeId::from("a"),
            applied: PerStream::both(Tail {
                offset: Offset(5),
                ..Tail::EMPTY
            }),
            durable: PerStream::both(Tail::EMPTY),
            max_epoch: Epoch(4),
            following,
        }
    }

    #[test]
    fn every_standby_is_due_each_second_and_one_that_changed_at_once() {
        let (mut reported, begun) = (Reported::default(), Instant::now());
        let at = |ms| begun + Duration::from_millis(ms);
        let mut due = |ms, statuses: &[ReplicaStatus]| {
            reported
                .due(statuses.to_vec(), at(ms))
                .iter()
                .map(|status| status.shard.0)
                .collect::<Vec<_>>()
        };
        let live = |shard| status(shard, Following::Live);

        assert_eq!(due(0, &[live(1), live(2)]), [1, 2]);
        assert_eq!(due(100, &[live(1), live(2)]), [0; 0]);
        assert_eq!(due(200, &[live(1), live(2), live(3)]), [3], "it is new");
        assert_eq!(
            due(300, &[live(1), status(2, Following::Behind), live(3)]),
            [2],
            "it changed"
        );
        assert_eq!(
            due(400, &[live(1), status(2, Following::Behind), live(3)]),
            [0; 0]
        );
        assert_eq!(due(1_000, &[live(1), live(3)]), [1, 3], "it is time");
        assert_eq!(due(1_100, &[live(1), live(2), live(3)]), [2], "it is back");
    }

    #[tokio::test]
    async fn an_owner_is_told_in_one_request_however_many_shards_it_has() {
        let fake = Fake::new(|body| match body {
            Body::Reports(statuses) => Ok(Outcome::Reported(
                statuses.iter().map(|_| Some(Epoch(4))).collect(),
            )),
            _ => Err(crate::shard::command::ShardError::NotOwner),
        });

        let pair = Pair::new(&fake, Config::default()).await;
        let statuses: Vec<_> = (0..16)
            .map(|shard| status(shard, Following::Live))
            .collect();
        report(&pair.owners, statuses.clone()).await;
        let told = fake.bodies();
        let [Body::Reports(told)] = told.as_slice() else {
            panic!("{told:?}")
        };

        assert_eq!(told, &statuses);
        assert_eq!(
            *fake.askers.lock().expect("not poisoned"),
            [NodeId::from("a")]
        );
    }

    #[tokio::test]
    async fn who_is_not_there_is_not_waited_for_and_nobody_reports_to_itself() {
        let fake = Fake::new(|_| Err(crate::shard::command::ShardError::NotOwner));
        let pair = Pair::new(&fake, Config::default()).await;
        let mut table = crate::cluster::table::Table::clone(&pair.owners.table());
        table.version += 1;
        table.rows[1] = vec![NodeId::from("a"), NodeId::from("b")];
        table.rows[2] = Vec::new();
        pair.table.send_replace(Arc::new(table));
        eventually(|| pair.owners.table().version == 2).await;
        report(
            &pair.owners,
            vec![status(1, Following::Live), status(2, Following::Live)],
        )
        .await;

        assert!(fake.bodies().is_empty());
        report(&pair.owners, vec![status(3, Following::Live)]).await;
        assert_eq!(fake.bodies().len(), 1);
    }
}
