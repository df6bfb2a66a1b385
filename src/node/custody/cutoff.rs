//! Watches whether this node still has a part in the cluster: looks at the control records of
//! shards whose lease has ended, and lets go of those that were taken; and when it is cut off from
//! the log while others are not, sends its sessions away until it is back. ADR 15.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, timeout};

use crate::clock::Clock;
use crate::cluster::table::Table;
use crate::cluster::table::reach::Reach;
use crate::ids::{NodeId, ShardId};
use crate::log::{Control, ShardLog, Token};
use crate::node::context::Setup;
use crate::node::custody::shards::Shards;
use crate::node::owners::Owners;
use crate::node::session::Hub;
use crate::shard::ShardHandle;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A look at a place of the log is given up after this part of T.
const ANSWER_PART: u32 = 4;

/// Sessions that are sent away leave spread over this time.
const AWAY_WINDOW: Duration = Duration::from_secs(5);

/// What a session that is sent away is told.
const REASON: &str = "the node is cut off";

/// The watch of a node.
#[derive(Debug)]
pub(in crate::node) struct CutOff {
    node: NodeId,
    log: Arc<dyn ShardLog>,
    clock: Clock,
    shards: Shards,
    owners: Owners,
    hub: Arc<Hub>,
    table: watch::Receiver<Arc<Table>>,
    reach: Arc<Reach>,
    /// T.
    patience: Duration,
    /// Since when no shard that is open here has a lease, and another node has one of them by the
    /// table.
    bereft: Option<Instant>,
}

impl CutOff {
    /// `None` where nobody else can take a shard.
    pub(in crate::node) fn of(
        setup: &Setup,
        shards: Shards,
        ways: (&Owners, &Arc<Hub>),
        reach: &Arc<Reach>,
    ) -> Option<Self> {
        let (owners, hub) = ways;
        Some(Self {
            node: setup.id.clone(),
            log: Arc::clone(&setup.log),
            clock: setup.clock.clone(),
            shards,
            owners: owners.clone(),
            hub: Arc::clone(hub),
            table: owners.watch_table(),
            reach: Arc::clone(reach),
            patience: setup.config.shard.takeover_watch?,
            bereft: None,
        })
    }

    /// Watches for ever.
    pub(in crate::node) async fn run(mut self) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let open = self.shards.open();
            let unproven: Vec<&ShardHandle> =
                open.iter().filter(|handle| !handle.is_proven()).collect();
            if !unproven.is_empty() {
                self.let_go_of_taken(&unproven).await;
                // A lease may have ended since the table told of the new owner.
                self.owners.look_at_routes();
            }
            let is_bereft = is_bereft(&self.node, &open, &self.table.borrow());
            self.judge(is_bereft, Instant::now());
        }
    }

    /// Asks who owns the shards whose leases have ended. One that another has taken ends here.
    /// Places side by side: one that does not answer holds up no other.
    async fn let_go_of_taken(&self, unproven: &[&ShardHandle]) {
        let mut places: BTreeMap<u64, Vec<&ShardHandle>> = BTreeMap::new();
        for handle in unproven {
            places
                .entry(self.log.place(handle.id()))
                .or_default()
                .push(handle);
        }

        let looks = places.values().map(|handles| async move {
            let shards: Vec<ShardId> = handles.iter().map(|handle| handle.id()).collect();
            // Without an answer nothing is known, and the next look asks again.
            let Ok(seen) = timeout(self.patience / ANSWER_PART, self.log.observe(&shards)).await
            else {
                return;
            };
            for (handle, observed) in handles.iter().zip(seen) {
                let control = observed.ok().and_then(|observed| observed.control);
                if control.is_some_and(|control| was_taken(handle.hold().1, &control)) {
                    handle.renewed(self.clock.since_boot(), false);
                }
            }
        });
        join_all(looks).await;
    }

    /// Decides whether the node is cut off, and acts when that changes.
    fn judge(&mut self, is_bereft: bool, now: Instant) {
        self.bereft = is_bereft.then(|| self.bereft.unwrap_or(now));
        let bereft_for = self
            .bereft
            .map(|since| now.saturating_duration_since(since));
        let left_behind = self.reach.left_behind(self.patience);
        let cut_off =
            left_behind.is_some() || bereft_for.is_some_and(|since| since >= self.patience);
        if !self.reach.set_cut_off(cut_off) {
            return;
        }

        let node = &self.node;
        if cut_off {
            let sessions = self.hub.sessions();
            tracing::error!(%node, ?left_behind, ?bereft_for, sessions, "cut off from the log while others reach it");
            self.hub.send_away(AWAY_WINDOW, REASON);
        } else {
            tracing::info!(%node, "reaches the log again, and takes sessions again");
            self.hub.welcome();
        }
    }
}

/// Another token of no lower epoch: the shard was claimed after us. A lower one tells of a log that
/// fell back, and then our own claim is what the next renewal or append restores or loses.
fn was_taken(ours: Token, control: &Control) -> bool {
    control.token != ours && control.token.epoch >= ours.epoch
}

/// Shards are open here, none of them has a lease, and one of them is another node's by the table:
/// others reach the log.
fn is_bereft(node: &NodeId, open: &[ShardHandle], table: &Table) -> bool {
    let is_others =
        |handle: &ShardHandle| table.owner(handle.id()).is_some_and(|owner| owner != node);
    !open.iter().any(ShardHandle::is_proven) && open.iter().any(is_others)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::auth::{self, Verifier};
    use crate::cluster::map::ShardMap;
    use crate::link;
    use crate::log::PerStream;
    use crate::node::custody::renewal::{Bench, Places, T};
    use crate::node::owners::Beside;
    use crate::node::owners::testing::{SHARDS, credentials, eventually, table};
    use crate::node::{owners, session};

    /// The watch of `node-a`, which serves the shards of the bench, and the table that it follows.
    fn watching(bench: &Bench) -> (CutOff, watch::Sender<Arc<Table>>) {
        let (told, table) = watch::channel(table(
            1,
            &[("node-a", String::new()), ("node-b", String::new())],
        ));
        let (pushes, pushed) = mpsc::channel(64);
        let reach = Arc::<Reach>::default();
        let owners = Owners::new(owners::Setup {
            credentials: credentials("node-a"),
            map: ShardMap::new(SHARDS).expect("a power of two"),
            table: table.clone(),
            pushes,
            reach: Arc::clone(&reach),
            link: link::Config::default(),
            snapshots: std::env::temp_dir()
                .join(format!("rookery-none-{:x}", rand::random::<u64>())),
            beside: Beside::default(),
        });

        for handle in &bench.handles {
            owners.insert_local(handle.clone());
        }

        let keys = auth::Config {
            hs256_secret: Some("k".repeat(40)),
            cache_max: 10,
            ..auth::Config::default()
        };

        let verifier = Verifier::new(keys, bench.clock.clone()).expect("a verifier");
        let config = session::Config {
            delivered_every: Duration::from_millis(20),
            ..session::Config::small()
        };
        let hub = Hub::spawn(
            owners.clone(),
            verifier,
            bench.clock.clone(),
            config,
            pushed,
        );

        let cut_off = CutOff {
            node: NodeId::from("node-a"),
            log: Arc::<Places>::clone(&bench.log),
            clock: bench.clock.clone(),
            shards: bench.shards(),
            owners,
            hub,
            table,
            reach,
            patience: T,
            bereft: None,
        };
        (cut_off, told)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_shard_that_was_taken_is_let_go_though_no_renewal_says_so() {
        let bench = Bench::new().await;
        let (cut_off, _table) = watching(&bench);
        bench.take(ShardId(1)).await;

        let all: Vec<&ShardHandle> = bench.handles.iter().collect();
        cut_off.let_go_of_taken(&all).await;
        eventually(|| bench.handles[1].is_closed()).await;

        assert!(
            cut_off.owners.local(ShardId(1)).is_none(),
            "it is not served here any more"
        );
        assert!(cut_off.owners.local(ShardId(0)).is_some());
        assert_eq!(
            bench
                .handles
                .iter()
                .map(ShardHandle::is_closed)
                .collect::<Vec<_>>(),
            [false, true, false]
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_shard_without_a_lease_is_not_served_here_once_the_table_gives_it_to_another() {
        let mut bench = Bench::new().await;
        let (cut_off, told) = watching(&bench);
        let is_here = |of: &CutOff| of.owners.local(ShardId(0)).is_some();
        bench.clock.pass(T);

        assert!(
            is_here(&cut_off),
            "Redis may be gone for all: reads go on, marked"
        );

        told.send_replace(table(
            2,
            &[("node-b", String::new()), ("node-a", String::new())],
        ));

        assert!(!is_here(&cut_off));
        bench.renew().await;
        assert!(
            is_here(&cut_off),
            "what it owns for sure it serves, whatever the table says"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_without_any_lease_whose_shards_went_to_others_is_cut_off_until_it_has_one() {
        let mut bench = Bench::new().await;
        let (mut cut_off, told) = watching(&bench);
        let start = Instant::now();
        let look = |of: &mut CutOff, at: Duration| {
            let is_bereft = is_bereft(&of.node, &of.shards.open(), &of.table.borrow());
            of.judge(is_bereft, start + at);
            assert_eq!(of.reach.is_cut_off(), of.hub.is_away());
            of.hub.is_away()
        };

        bench.clock.pass(T);
        assert!(
            !look(&mut cut_off, Duration::ZERO) && !look(&mut cut_off, T * 9),
            "an outage for everybody"
        );

        told.send_replace(table(
            2,
            &[("node-b", String::new()), ("node-a", String::new())],
        ));

        assert!(
            !look(&mut cut_off, T * 10) && !look(&mut cut_off, T * 11 - Duration::from_millis(1))
        );
        assert!(look(&mut cut_off, T * 11));

        bench.renew().await;
        assert!(!look(&mut cut_off, T * 12), "it recovers by itself");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_that_hears_of_a_table_that_it_cannot_read_is_cut_off_until_it_reads_it() {
        let bench = Bench::new().await;
        let (mut cut_off, _told) = watching(&bench);
        let start = Instant::now();
        cut_off.reach.read(1, start);
        cut_off.reach.failed(start);

        let told = crate::cluster::table::reach::Told {
            version: 2,
            age_ms: Some(0),
        };
        cut_off.reach.hear(told, start + T / 2);
        cut_off.judge(false, start + T / 2);
        assert!(!cut_off.hub.is_away());

        cut_off.reach.hear(told, start + T * 2);
        cut_off.judge(false, start + T * 2);
        assert!(cut_off.hub.is_away() && cut_off.reach.is_cut_off());

        cut_off.reach.read(2, start + T * 2);
        cut_off.judge(false, start + T * 2);
        assert!(!cut_off.hub.is_away() && !cut_off.reach.is_cut_off());
    }

    #[test]
    fn a_control_record_of_a_lower_epoch_takes_nothing_from_anybody() {
        let ours = Token::new(crate::ids::Epoch(7));
        let with = |token| Control {
            token,
            beat: 1,
            owner: NodeId::from("node-b"),
            identity: crate::shard::file::store::tests::identity(),
            tails: PerStream::both(crate::log::record::Tail::default()),
        };
        let [lower, equal, higher] =
            [6, 7, 8].map(|epoch| with(Token::new(crate::ids::Epoch(epoch))));
        assert!(!was_taken(ours, &with(ours)) && !was_taken(ours, &lower));
        assert!(was_taken(ours, &equal) && was_taken(ours, &higher));
    }
}
