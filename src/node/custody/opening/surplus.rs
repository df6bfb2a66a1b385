//! The file of a replica that no row names any more: what the replicas of its shard say that they
//! have of it. It may be the last copy of something, whatever the table says: it goes only when the
//! owner proves to have its history, and another replica, where there is to be one, has as much.

use std::time::{Duration, Instant};

use crate::ids::NodeId;
use crate::log::PerStream;
use crate::log::record::Tail;
use crate::shard::file::store::Store;
use crate::shard::replicas::{Following, ReplicaStatus, Replicas};
use crate::shard::{OpenError, Opening};

/// Time for the answers of the replicas.
const ASK_MAX: Duration = Duration::from_secs(2);

/// How a surplus file compares with those of its shard's replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Surplus {
    /// The owner's file has the history of this one, as its entries prove. It keeps them for a
    /// minute or so.
    pub(super) links: bool,
    /// The owner's file has no less.
    covered: bool,
    /// Nor has another replica's, which follows.
    copied: bool,
}

impl Surplus {
    /// Whether the file is of no use to anybody. `linked`: its history was proven before, and it
    /// has not changed since. Where a shard is to have one replica, that is enough.
    pub(super) fn may_go(self, linked: bool, replicas: Option<usize>) -> bool {
        (self.links || linked) && self.covered && (self.copied || replicas == Some(1))
    }
}

/// Compares; `owner` as the control record names it.
///
/// # Errors
/// The file cannot be opened.
pub(super) async fn compare(
    opening: &Opening,
    owner: Option<&NodeId>,
) -> Result<Surplus, OpenError> {
    let store = Store::open(
        &opening.path,
        opening.identity,
        opening.shard,
        opening.config.store.clone(),
    )
    .await?;
    let applied = store.progress().applied;
    store.close().await;
    let Some(owner) = owner.filter(|owner| **owner != opening.node) else {
        return Ok(Surplus {
            links: false,
            covered: false,
            copied: false,
        });
    };

    let deadline = Instant::now() + ASK_MAX;
    let others = opening.replicas.standing(opening.shard, deadline).await;
    let has = |other: &ReplicaStatus| {
        let enough = other
            .applied
            .zip(applied)
            .all(|(theirs, ours)| theirs.offset >= ours.offset);
        enough && other.following == Following::Live
    };

    let owns = others
        .iter()
        .find(|other| other.node == *owner)
        .filter(|other| has(other));
    let copied = others
        .iter()
        .any(|other| other.node != *owner && other.node != opening.node && has(other));
    let links = match owns {
        Some(owns) => links(opening, owns, applied, deadline).await,
        None => false,
    };

    Ok(Surplus {
        links,
        covered: owns.is_some(),
        copied,
    })
}

/// Whether both tails are in the past of the owner's file.
async fn links(
    opening: &Opening,
    owner: &ReplicaStatus,
    applied: PerStream<Tail>,
    deadline: Instant,
) -> bool {
    let replicas: &dyn Replicas = opening.replicas.as_ref();
    for (stream, (ours, theirs)) in applied.zip(owner.applied) {
        let same = ours == theirs || ours == Tail::EMPTY;
        if !same
            && replicas
                .entries_after(opening.shard, &owner.node, stream, ours, deadline)
                .await
                .is_empty()
        {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use async_trait::async_trait;

    use super::*;
    use crate::clock::Clock;
    use crate::ids::{Epoch, ShardId};
    use crate::log::embedded::EmbeddedLog;
    use crate::log::lane::Lane;
    use crate::log::{RawEntry, ShardLog, Stream};
    use crate::shard::file::store::tests::identity;
    use crate::shard::replicas::Alone;
    use crate::shard::tests::config;

    const SHARD: ShardId = ShardId(3);

    /// Replicas that say this of themselves; the owner's entries link, or do not.
    #[derive(Debug)]
    struct Said {
        statuses: Vec<ReplicaStatus>,
        links: bool,
    }

    #[async_trait]
    impl Replicas for Said {
        fn others(&self, _: ShardId) -> Vec<NodeId> {
            self.statuses
                .iter()
                .map(|status| status.node.clone())
                .collect()
        }

        async fn standing(&self, _: ShardId, _: Instant) -> Vec<ReplicaStatus> {
            self.statuses.clone()
        }

        async fn entries_after(
            &self,
            _: ShardId,
            _: &NodeId,
            _: Stream,
            after: Tail,
            _: Instant,
        ) -> Vec<RawEntry> {
            let next = RawEntry {
                last: after.offset.next(),
                bytes: bytes::Bytes::new(),
            };
            self.links.then_some(next).into_iter().collect()
        }

        async fn hold(&self, _: ShardId, _: &[NodeId], _: Stream, _: Tail, _: Instant) -> bool {
            false
        }
    }

    /// Of node c, whose file has what an owner wrote that was opened on it once.
    async fn surplus(folder: &Path) -> Opening {
        let log: Arc<dyn ShardLog> = EmbeddedLog::open(&folder.join("log.sqlite"))
            .await
            .expect("opens");
        let opening = Opening {
            shard: SHARD,
            identity: identity(),
            node: NodeId::from("c"),
            path: folder.join("shard.sqlite"),
            lane: Lane::spawn(Arc::clone(&log)),
            log,
            replicas: Arc::new(Alone),
            claimed: false,
            clock: Clock::system(),
            config: config(),
        };

        let handle = crate::shard::open(opening.clone()).await.expect("opens");
        handle.close(Instant::now() + Duration::from_secs(30)).await;
        opening
    }

    #[tokio::test]
    #[expect(
        clippy::too_many_lines,
        reason = "one story, told from its beginning to its end"
    )]
    async fn a_surplus_file_goes_only_when_the_owner_has_its_tails_and_another_copy_is_in_sync() {
        let folder = tempfile::tempdir().expect("a folder");
        let opening = surplus(folder.path()).await;
        let store = Store::open(
            &opening.path,
            opening.identity,
            SHARD,
            opening.config.store.clone(),
        )
        .await;
        let store = store.expect("opens");
        let ours = store.progress().applied;
        store.close().await;
        assert!(
            ours.all(|tail| tail.offset.0 > 0),
            "it has something to lose"
        );

        let beyond = ours.map(|tail| Tail {
            offset: tail.offset.next(),
            ..Tail::EMPTY
        });
        let status = |node: &str, applied: PerStream<Tail>, following: Following| ReplicaStatus {
            shard: SHARD,
            node: NodeId::from(node),
            applied,
            durable: applied,
            max_epoch: Epoch(1),
            following,
        };
        let owner = NodeId::from("a");
        let compare = async |statuses: Vec<ReplicaStatus>, links: bool, named: Option<&NodeId>| {
            let replicas = Arc::new(Said { statuses, links });
            compare(
                &Opening {
                    replicas,
                    ..opening.clone()
                },
                named,
            )
            .await
            .expect("it is read")
        };
        let copy = || status("b", ours, Following::Live);

        let good = compare(
            vec![status("a", ours, Following::Live), copy()],
            false,
            Some(&owner),
        )
        .await;
        assert!(good.may_go(false, None));
        let linked = compare(
            vec![status("a", beyond, Following::Live), copy()],
            true,
            Some(&owner),
        )
        .await;
        assert!(linked.may_go(false, None));

        let late = compare(
            vec![status("a", beyond, Following::Live), copy()],
            false,
            Some(&owner),
        )
        .await;
        assert!(
            !late.may_go(false, None) && late.may_go(true, None),
            "its history was proven before, or is not"
        );
        let alone = compare(vec![status("a", ours, Following::Live)], true, Some(&owner)).await;
        assert!(
            !alone.may_go(true, None) && !alone.may_go(true, Some(2)),
            "it is the second copy"
        );
        assert!(alone.may_go(true, Some(1)), "there is to be no second one");
        let behind = status("b", ours, Following::Behind);
        let seeding = compare(
            vec![status("a", ours, Following::Live), behind],
            true,
            Some(&owner),
        )
        .await;
        assert!(!seeding.may_go(true, None), "the other one does not follow");
        let empty = compare(
            vec![
                status("a", PerStream::both(Tail::EMPTY), Following::Live),
                copy(),
            ],
            true,
            Some(&owner),
        )
        .await;
        assert!(!empty.may_go(true, None), "the owner has less");
        assert!(
            !compare(vec![copy()], true, Some(&owner))
                .await
                .may_go(true, None),
            "the owner does not answer"
        );
        assert!(
            !compare(vec![copy(), copy()], true, None)
                .await
                .may_go(true, None),
            "nobody owns the shard"
        );
    }
}
