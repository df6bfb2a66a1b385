//! The shards that this node owns, by number, and how they serve requests, be they this node's own
//! or those of peers. Beside them its standbys.

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, try_join_all};
use tokio::sync::watch;

use crate::cluster::table::Table;
use crate::cluster::table::reach::Reach;
use crate::ids::{NodeId, ShardId};
use crate::node::link::frame::{Body, Outcome, cut_events};
use crate::node::link::handing::HandOverAsk;
use crate::node::link::{Asker, Serve, Serving};
use crate::node::owners::Setup;
use crate::node::owners::custody::Custody;
use crate::node::owners::hints::Hints;
use crate::node::owners::offers::Offers;
use crate::shard::command::ShardError;
use crate::shard::write::subscriptions::SubscriberId;
use crate::shard::{ShardHandle, Standby};

/// The owned shards, and the standbys.
#[derive(Debug)]
pub(super) struct LocalShards {
    shards: ArcSwap<HashMap<ShardId, ShardHandle>>,
    standbys: ArcSwap<HashMap<ShardId, Standby>>,
    pub(super) offers: Offers,
    /// Shards that were given away, here or elsewhere, as far as the table does not say so.
    pub(super) hints: Hints,
    /// Hands shards over, once there is somebody to.
    pub(super) custody: OnceLock<Weak<dyn Custody>>,
    node: NodeId,
    table: watch::Receiver<Arc<Table>>,
    reach: Arc<Reach>,
}

impl LocalShards {
    /// None yet.
    pub(super) fn of(setup: &Setup) -> Self {
        Self {
            shards: ArcSwap::default(),
            standbys: ArcSwap::default(),
            offers: Offers::new(setup.snapshots.clone()),
            hints: Hints::default(),
            custody: OnceLock::new(),
            node: setup.credentials.id.clone(),
            table: setup.table.clone(),
            reach: Arc::clone(&setup.reach),
        }
    }

    /// The shard, if it is served here. It is not when it has ended; nor when its lease has ended
    /// and somebody else owns it as far as can be known: the table names another node, or this one
    /// is cut off while others are not.
    pub(super) fn here(&self, shard: ShardId) -> Option<ShardHandle> {
        self.get(shard)
            .filter(|handle| !handle.is_closed() && (handle.is_proven() || !self.is_others(shard)))
    }

    fn is_others(&self, shard: ShardId) -> bool {
        self.reach.is_cut_off()
            || self
                .table
                .borrow()
                .owner(shard)
                .is_some_and(|owner| *owner != self.node)
    }

    pub(super) fn insert_standby(&self, standby: Standby) {
        let shard = standby.status().shard;
        self.standbys.rcu(|standbys| {
            let mut standbys = HashMap::clone(standbys);
            standbys.insert(shard, standby.clone());
            standbys
        });
    }

    pub(super) fn remove_standby(&self, shard: ShardId) -> Option<Standby> {
        let before = self.standbys.rcu(|standbys| {
            let mut standbys = HashMap::clone(standbys);
            standbys.remove(&shard);
            standbys
        });
        before.get(&shard).cloned()
    }

    pub(super) fn standby(&self, shard: ShardId) -> Option<Standby> {
        self.standbys.load().get(&shard).cloned()
    }

    pub(super) fn standbys(&self) -> Vec<Standby> {
        self.standbys.load().values().cloned().collect()
    }

    /// Drops snapshots that nobody reads, for ever.
    pub(super) async fn tidy_snapshots(&self) {
        self.offers.tidy().await;
    }

    pub(super) fn insert(&self, shard: ShardHandle) {
        self.shards.rcu(|shards| {
            let mut shards = HashMap::clone(shards);
            shards.insert(shard.id(), shard.clone());
            shards
        });
    }

    pub(super) fn remove(&self, shard: ShardId) -> Option<ShardHandle> {
        let before = self.shards.rcu(|shards| {
            let mut shards = HashMap::clone(shards);
            shards.remove(&shard);
            shards
        });
        before.get(&shard).cloned()
    }

    pub(super) fn get(&self, shard: ShardId) -> Option<ShardHandle> {
        self.shards.load().get(&shard).cloned()
    }

    /// The same work at several shards, side by side; each has a result of its own.
    pub(super) fn each<T, R, F>(
        &self,
        parts: Vec<(ShardId, T)>,
        work: impl Fn(ShardHandle, T) -> F,
    ) -> BoxFuture<'static, Vec<Result<R, ShardError>>>
    where
        F: Future<Output = Result<R, ShardError>> + Send + 'static,
        R: Send + 'static,
    {
        let works = parts
            .into_iter()
            .map(|(shard, part)| match self.here(shard) {
                Some(handle) => work(handle, part).left_future(),
                None => ready(Err(ShardError::NotOwner)).right_future(),
            });
        join_all(works.collect::<Vec<_>>()).boxed()
    }

    /// Whoever keeps this node's replicas, from its start to its end.
    fn custody(&self) -> Option<Arc<dyn Custody>> {
        self.custody.get().and_then(Weak::upgrade)
    }

    fn serve_hand_over(&self, (shard, ask): (ShardId, HandOverAsk), asker: &NodeId) -> Serving {
        let Some(custody) = self.custody() else {
            return ready(Ok(Outcome::HandOver(Err(
                "this node has not begun yet, or ends".to_owned(),
            ))))
            .boxed();
        };
        let asker = asker.clone();
        async move {
            Ok(Outcome::HandOver(
                custody.hand_over(shard, ask, asker).await,
            ))
        }
        .boxed()
    }

    fn serve_standing(&self) -> Serving {
        let standing = self
            .custody()
            .map(|custody| Outcome::Standing(Box::new(custody.standing())));
        ready(standing.ok_or(ShardError::NotOwner)).boxed()
    }

    fn serve_balance(&self, asked_by: Option<&str>) -> Serving {
        let plan = self
            .custody()
            .map(|custody| custody.balance(asked_by).map(Box::new));
        ready(plan.map(Outcome::Balance).ok_or(ShardError::NotOwner)).boxed()
    }

    fn serve_parts(&self, body: Body, deadline: Instant, asker: &Asker) -> Serving {
        let subscriber = &asker.subscriber;
        match body {
            Body::Summaries {
                reader,
                parts,
                length,
            } => self.serve_summaries(parts, (reader, length), deadline),
            Body::Subscribe { parts } => {
                let subscriber = subscriber.clone();
                let answers = self.each(parts, move |handle, interests| {
                    let subscriber = subscriber.clone();
                    async move { handle.subscribe(&subscriber, interests, deadline).await }
                });
                let cut = async move {
                    let mut answered = answers.await;
                    cut_events(&mut answered);
                    Ok(Outcome::Subscribed(answered))
                };
                cut.boxed()
            }
            Body::Unsubscribe { parts } => {
                for (shard, interests) in parts {
                    if let Some(handle) = self.get(shard) {
                        handle.unsubscribe(subscriber.id(), interests);
                    }
                }
                ready(Ok(Outcome::Ended)).boxed()
            }
            Body::Outboxes { parts } => {
                let answers = self.each(parts, move |handle, to| async move {
                    let asked = to.into_iter().map(|to| handle.outbox_clear(to, deadline));
                    try_join_all(asked).await
                });
                async move { Ok(Outcome::Outboxes(answers.await)) }.boxed()
            }
            Body::Presence { parts, watch } => {
                self.serve_presence(parts, watch.then(|| subscriber.clone()), deadline)
            }
            Body::Unwatch { parts } => {
                self.serve_unwatch(parts, subscriber.id());
                ready(Ok(Outcome::Ended)).boxed()
            }
            Body::Reports(statuses) => ready(Ok(Outcome::Reported(
                self.take_reports(statuses, &asker.node),
            )))
            .boxed(),
            _ => ready(Err(ShardError::NotOwner)).boxed(),
        }
    }
}

impl Serve for LocalShards {
    fn owns(&self, shard: ShardId) -> bool {
        self.here(shard).is_some()
    }

    fn serve(&self, body: Body, deadline: Instant, asker: &Asker) -> Serving {
        let subscriber = &asker.subscriber;
        let body = match body {
            Body::Replica { shard, ask } => {
                return self.serve_replica((shard, ask), deadline, &asker.node);
            }
            Body::HandOver { shard, ask } => {
                return self.serve_hand_over((shard, ask), &asker.node);
            }
            Body::Standing => return self.serve_standing(),
            Body::Balance { asked_by } => return self.serve_balance(asked_by.as_deref()),
            other => other,
        };
        let Some(one) = body.one_shard() else {
            return self.serve_parts(body, deadline, asker);
        };

        let Some(handle) = self.here(one) else {
            return ready(Err(ShardError::NotOwner)).boxed();
        };
        match body {
            Body::Execute { command, .. } => handle
                .execute(command, deadline)
                .map(|done| done.map(Outcome::Done))
                .boxed(),
            Body::Query { query, .. } => async move {
                let (found, freshness) = handle.query(query, deadline).await?;
                Ok(Outcome::Found(found, freshness))
            }
            .boxed(),
            Body::SubscribeIndex {
                user, after, limit, ..
            } => {
                let subscriber = subscriber.clone();
                async move {
                    let page = handle
                        .subscribe_index(&subscriber, user, after, limit, deadline)
                        .await?;
                    Ok(Outcome::IndexPage(page))
                }
                .boxed()
            }
            Body::UnsubscribeIndex { user, .. } => {
                handle.unsubscribe_index(subscriber.id(), user);
                ready(Ok(Outcome::Ended)).boxed()
            }
            _ => self.serve_parts(body, deadline, asker),
        }
    }

    fn knows_of_moves(&self) -> bool {
        !self.hints.is_empty()
    }

    fn moved(&self, shards: &[ShardId]) -> Vec<(ShardId, NodeId)> {
        let table = self.table.borrow();
        let elsewhere = shards.iter().filter(|shard| !self.owns(**shard));
        elsewhere
            .filter_map(|shard| Some((*shard, self.hints.of(*shard, &table)?)))
            .collect()
    }

    fn forget(&self, subscriber: SubscriberId) {
        for shard in self.shards.load().values() {
            shard.forget(subscriber);
        }
    }
}
