//! One round: every shard that is open now is renewed, each for itself, and places that are silent
//! are asked whether they answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::clock::Clock;
use crate::cluster::table::reach::Reach;
use crate::ids::NodeId;
use crate::log::ShardLog;
use crate::node::custody::shards::Shards;
use crate::shard::ShardHandle;
use crate::telemetry;

#[cfg(test)]
pub(in crate::node::custody) use tests::beat;
#[cfg(test)]
pub(in crate::node) use tests::{Bench, Places, T};

/// The rounds of a node.
#[derive(Debug)]
pub(super) struct Rounds {
    pub(super) node: NodeId,
    /// Knows the places.
    pub(super) log: Arc<dyn ShardLog>,
    /// What is renewed by.
    pub(super) by: Arc<dyn ShardLog>,
    pub(super) clock: Clock,
    pub(super) shards: Shards,
    /// Told which places answer.
    pub(super) reach: Arc<Reach>,
    pub(super) answer_max: Duration,
    /// The last round had a place without an answer.
    pub(super) failing: bool,
}

impl Rounds {
    /// Renews once what is open now. A place that does not answer holds up no other, and nothing is
    /// taken over there until it answers again.
    pub(super) async fn go(&mut self) {
        let mut places: BTreeMap<u64, Vec<ShardHandle>> = BTreeMap::new();
        let now = self.clock.since_boot();
        for handle in self
            .shards
            .open()
            .into_iter()
            .filter(|handle| handle.progresses(now))
        {
            places
                .entry(self.log.place(handle.id()))
                .or_default()
                .push(handle);
        }

        let renewing = places.iter().map(|(place, handles)| async {
            let renewed = self.renew(handles).await;
            if let Some(handle) = handles.first() {
                self.reach.renewed_at(*place, handle.id(), renewed.is_ok());
            }
            renewed
        });
        let (renewed, ()) = tokio::join!(join_all(renewing), self.ask_silent_places(&places));
        self.tell(
            &renewed
                .into_iter()
                .filter_map(Result::err)
                .collect::<Vec<_>>(),
        );

        for handle in places.values().flatten() {
            handle.note_lease();
        }
    }

    /// Asks the places that did not answer last, and where nothing is left to renew, whether they
    /// answer now.
    async fn ask_silent_places(&self, renewed: &BTreeMap<u64, Vec<ShardHandle>>) {
        let silent = self.reach.silent_places();
        let asked = silent
            .into_iter()
            .filter(|(place, _)| !renewed.contains_key(place));
        let asking = asked.map(|(place, shard)| async move {
            let answer = tokio::time::timeout(self.answer_max, self.by.control(shard)).await;
            self.reach
                .renewed_at(place, shard, matches!(answer, Ok(Ok(_))));
        });
        join_all(asking).await;
    }

    /// Tells once that places do not answer, and once that all do again.
    fn tell(&mut self, failed: &[String]) {
        let was_failing = std::mem::replace(&mut self.failing, !failed.is_empty());
        match failed.first() {
            Some(error) if !was_failing => {
                let unanswered = failed.len();
                tracing::warn!(node = %self.node, unanswered, error, "leases are not renewed; reads will be marked stale");
            }
            None if was_failing => tracing::info!(node = %self.node, "leases are renewed again"),
            _ => {}
        }
    }

    async fn renew(&self, handles: &[ShardHandle]) -> Result<(), String> {
        let renewed = join_all(handles.iter().map(|handle| self.renew_one(handle))).await;
        let with = |answer| {
            renewed
                .iter()
                .filter(|one| one.as_ref().ok() == answer)
                .count()
        };
        self.count("renewed", with(Some(&true)));
        self.count("taken", with(Some(&false)));
        self.count("failed", with(None));
        renewed
            .into_iter()
            .find_map(Result::err)
            .map_or(Ok(()), Err)
    }

    /// Each shard for itself: one without an answer must not take the lease of another.
    async fn renew_one(&self, handle: &ShardHandle) -> Result<bool, String> {
        let hold = [handle.hold()];
        if !handle.renewing() {
            self.answered(self.by.control(handle.id()))
                .await?
                .map_err(|error| error.to_string())?;
        }
        // Before it is sent: the proof is not older than that.
        let sent = self.clock.since_boot();
        let answer = self.answered(self.by.renew(&hold)).await?;
        let answer = answer.into_iter().next().ok_or("no answer for the shard")?;
        let is_current = answer.map_err(|error| error.to_string())?;
        handle.renewed(sent, is_current);
        Ok(is_current)
    }

    async fn answered<A>(&self, asked: impl Future<Output = A>) -> Result<A, String> {
        tokio::time::timeout(self.answer_max, asked)
            .await
            .map_err(|_elapsed| "no answer in time".to_owned())
    }

    fn count(&self, result: &'static str, shards: usize) {
        if shards > 0 {
            let shards = u64::try_from(shards).unwrap_or(u64::MAX);
            telemetry::LEASE_RENEWALS.add(shards, &[("node", &self.node.0), ("result", result)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;
    use std::time::Instant;

    use async_trait::async_trait;

    use super::*;
    use crate::ids::{ConversationName, Offset, ShardId, UserId};
    use crate::log::embedded::EmbeddedLog;
    use crate::log::lane::Lane;
    use crate::log::{
        AppendError, AppendOutcome, Batch, Claim, ClaimOutcome, Control, LogError, RawEntry,
        Stream, Token,
    };
    use crate::node::custody::watch::{Sight, Watch};
    use crate::shard::command::{Freshness, Query};
    use crate::shard::file::store::tests::identity;
    use crate::shard::file::{store, worker};
    use crate::shard::{Config, OpenError, Opening};

    pub(in crate::node) const T: Duration = Duration::from_secs(3);

    /// A log whose shards have a place each, some of which do not answer renewals.
    #[derive(Debug)]
    pub(in crate::node) struct Places {
        pub(in crate::node) inner: Arc<EmbeddedLog>,
        /// Never answers.
        silent: Mutex<HashSet<ShardId>>,
        /// Answers with an error.
        failing: Mutex<HashSet<ShardId>>,
        /// Does what it is asked to, and never answers.
        unheard: Mutex<HashSet<ShardId>>,
        /// A renewal takes so long to answer.
        takes: Mutex<Duration>,
        clock: Clock,
    }

    #[async_trait]
    impl ShardLog for Places {
        fn place(&self, shard: ShardId) -> u64 {
            u64::from(shard.0)
        }

        async fn control(&self, shard: ShardId) -> Result<Option<Control>, LogError> {
            if [&self.silent, &self.unheard]
                .iter()
                .any(|set| set.lock().expect("whole").contains(&shard))
            {
                return std::future::pending().await;
            }
            self.inner.control(shard).await
        }

        async fn claim(&self, claim: Claim) -> Result<ClaimOutcome, LogError> {
            self.inner.claim(claim).await
        }

        async fn append(&self, cycle: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
            self.inner.append(cycle).await
        }

        async fn renew(&self, holds: &[(ShardId, Token)]) -> Vec<Result<bool, LogError>> {
            let any_of = |set: &Mutex<HashSet<ShardId>>| {
                let set = set.lock().expect("whole");
                holds.iter().any(|(shard, _)| set.contains(shard))
            };
            if any_of(&self.silent) {
                return std::future::pending().await;
            }

            if any_of(&self.failing) {
                return holds
                    .iter()
                    .map(|_| Err(LogError::Failed("scripted".to_owned())))
                    .collect();
            }

            let answer = self.inner.renew(holds).await;
            if any_of(&self.unheard) {
                return std::future::pending().await;
            }

            self.clock.pass(*self.takes.lock().expect("whole"));
            answer
        }

        async fn read(
            &self,
            shard: ShardId,
            stream: Stream,
            after: Offset,
            bytes_max: usize,
        ) -> Result<Vec<RawEntry>, LogError> {
            self.inner.read(shard, stream, after, bytes_max).await
        }

        async fn trim(
            &self,
            shard: ShardId,
            token: Token,
            stream: Stream,
            upto: Offset,
        ) -> Result<(), LogError> {
            self.inner.trim(shard, token, stream, upto).await
        }
    }

    /// Shards of one node, over such a log.
    pub(in crate::node) struct Bench {
        folder: tempfile::TempDir,
        pub(in crate::node) log: Arc<Places>,
        lane: Lane,
        pub(in crate::node) clock: Clock,
        pub(in crate::node::custody::renewal) rounds: Rounds,
        pub(in crate::node) handles: Vec<ShardHandle>,
    }

    impl Bench {
        /// Three open shards, each of a place of its own.
        pub(in crate::node) async fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let inner = EmbeddedLog::open(&folder.path().join("log.db"))
                .await
                .expect("opens");
            let clock = Clock::manual(1_700_000_000_000);
            let log = Arc::new(Places {
                inner,
                silent: Mutex::default(),
                failing: Mutex::default(),
                unheard: Mutex::default(),
                takes: Mutex::default(),
                clock: clock.clone(),
            });

            let lane = Lane::spawn(Arc::clone(&log) as Arc<dyn ShardLog>);
            let rounds = Rounds {
                node: NodeId::from("node-a"),
                log: Arc::clone(&log) as Arc<dyn ShardLog>,
                by: Arc::clone(&log) as Arc<dyn ShardLog>,
                clock: clock.clone(),
                shards: Shards::default(),
                reach: Arc::default(),
                answer_max: Duration::from_millis(50),
                failing: false,
            };

            let mut bench = Self {
                folder,
                log,
                lane,
                clock,
                rounds,
                handles: Vec::new(),
            };

            for shard in (0..3).map(ShardId) {
                let handle = bench.open(shard).await.expect("opens");
                bench.rounds.shards.insert(shard, handle.clone());
                bench.handles.push(handle);
            }

            bench
        }

        async fn open(&self, shard: ShardId) -> Result<ShardHandle, OpenError> {
            let opening = Opening {
                shard,
                identity: identity(),
                node: NodeId::from("node-a"),
                path: self.folder.path().join(format!("{shard}.db")),
                log: Arc::clone(&self.log) as Arc<dyn ShardLog>,
                lane: self.lane.clone(),
                replicas: Arc::new(crate::shard::replicas::Alone),
                claimed: false,
                clock: self.clock.clone(),
                config: Config {
                    store: store::tests::config(),
                    worker: worker::Config {
                        tick: Duration::from_millis(2),
                        records_max: 256,
                        gather_max: Duration::from_millis(20),
                        trim_floor: Duration::from_secs(60),
                        trim_floor_bytes: 1 << 20,
                    },
                    queue_max: 64,
                    retention: crate::protocol::Retention::default(),
                    retention_every: Duration::from_secs(10),
                    heads_max: 64,
                    heads_bytes_max: 1 << 20,
                    common: crate::shard::Common::default(),
                    stream_bytes_max: 1 << 27,
                    barrier_max: Duration::from_secs(20),
                    adopt_local: false,
                    takeover_watch: Some(T),
                    renew_every: Duration::from_millis(750),
                },
            };
            crate::shard::open(opening).await
        }

        pub(in crate::node) fn shards(&self) -> Shards {
            self.rounds.shards.clone()
        }

        pub(in crate::node) async fn renew(&mut self) {
            self.rounds.go().await;
        }

        /// Another node takes a shard.
        pub(in crate::node) async fn take(&self, shard: ShardId) {
            let control = self
                .log
                .inner
                .control(shard)
                .await
                .expect("reads")
                .expect("claimed");
            let claim = Claim {
                shard,
                expected: Some((control.token, control.beat)),
                token: Token::new(control.token.epoch.next()),
                owner: NodeId::from("node-b"),
                identity: identity(),
                begin_at: control.tails,
                ends_at: None,
            };
            assert!(matches!(
                self.log.inner.claim(claim).await,
                Ok(ClaimOutcome::Claimed(_))
            ));
        }

        /// The beat of each shard.
        async fn beats(&self) -> Vec<u64> {
            let mut beats = Vec::new();
            for shard in (0..3).map(ShardId) {
                beats.push(
                    self.log
                        .inner
                        .control(shard)
                        .await
                        .expect("reads")
                        .expect("claimed")
                        .beat,
                );
            }
            beats
        }

        /// A standby looks at a shard: whether it may take it now.
        async fn looked_at(&self, shard: ShardId, standby: &mut Watch) -> bool {
            let now = self.clock.since_boot();
            let control = self
                .log
                .inner
                .control(shard)
                .await
                .expect("reads")
                .expect("claimed");
            let (token, beat) = (control.token, control.beat);

            standby.saw(
                Sight {
                    token,
                    beat,
                    lineage: 1,
                    asked: now,
                    received: now,
                },
                0,
                token.epoch,
            )
        }

        /// How sure a read is at each shard, by whether it is marked.
        async fn marked(&self) -> Vec<bool> {
            let mut marked = Vec::new();
            for handle in &self.handles {
                let names = vec![ConversationName::parse("c").expect("a name")];
                let query = Query::Summaries {
                    names,
                    reader: UserId::parse("bob").expect("a name"),
                };
                let read = handle
                    .query(query, Instant::now() + Duration::from_secs(20))
                    .await;
                marked.push(matches!(read.expect("reads").1, Freshness::Stale { .. }));
            }
            marked
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_round_renews_every_open_shard_and_a_place_without_an_answer_holds_up_no_other() {
        let mut bench = Bench::new().await;
        bench.clock.pass(T);
        assert_eq!(bench.marked().await, [true; 3]);
        bench.log.silent.lock().expect("whole").insert(ShardId(0));
        bench.log.failing.lock().expect("whole").insert(ShardId(1));
        bench.rounds.go().await;
        assert_eq!(bench.marked().await, [true, true, false]);
        bench.log.silent.lock().expect("whole").clear();
        bench.log.failing.lock().expect("whole").clear();
        bench.rounds.go().await;
        assert_eq!(bench.marked().await, [false; 3]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_lease_counts_from_before_its_renewal_was_sent() {
        let mut bench = Bench::new().await;
        *bench.log.takes.lock().expect("whole") = T;
        bench.rounds.go().await;
        assert_eq!(
            bench.marked().await,
            [true; 3],
            "the answers were as old as that when they came"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_shard_whose_renewal_is_not_current_ends_and_the_others_go_on() {
        let mut bench = Bench::new().await;
        bench.take(ShardId(1)).await;
        bench.rounds.go().await;
        let ended = bench.handles.remove(1);
        tokio::time::timeout(Duration::from_secs(30), ended.closed())
            .await
            .expect("in time");
        drop(ended);
        bench.rounds.shards.remove(ShardId(1));
        assert_eq!(bench.marked().await, [false; 2]);
        assert!(
            matches!(bench.open(ShardId(1)).await, Err(OpenError::Elsewhere(_))),
            "it is not claimed back"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_taken_over_where_renewals_have_no_answer_until_they_have_one() {
        let mut bench = Bench::new().await;
        let held = |of: &Bench| [0, 1, 2].map(|place| of.rounds.reach.can_hold_at(place));
        assert_eq!(held(&bench), [true; 3]);

        bench.log.silent.lock().expect("whole").insert(ShardId(1));
        bench.rounds.go().await;
        assert_eq!(held(&bench), [true, false, true], "other places are well");

        bench.log.silent.lock().expect("whole").clear();
        bench.rounds.go().await;
        assert_eq!(held(&bench), [true; 3]);

        // Also where nothing is open any more that could be renewed.
        bench.log.silent.lock().expect("whole").insert(ShardId(1));
        bench.rounds.go().await;
        bench.rounds.shards.remove(ShardId(1));
        assert_eq!(held(&bench), [true, false, true]);

        bench.log.silent.lock().expect("whole").clear();
        bench.rounds.go().await;
        assert_eq!(held(&bench), [true; 3]);
    }

    // Interleavings 1, 4 and 5 of docs/adr/0015-a-node-cut-off-from-the-log.md.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_owner_that_hears_no_answer_gives_one_sign_of_life_more_and_is_due_to_be_taken_over()
    {
        let mut bench = Bench::new().await;
        bench.renew().await;
        let before = bench.beats().await;
        bench
            .log
            .unheard
            .lock()
            .expect("whole")
            .extend([ShardId(0), ShardId(1)]);
        let mut standby = Watch::new(T);
        let mut due = false;
        for _ in 0..10 {
            bench.renew().await;
            due = bench.looked_at(ShardId(0), &mut standby).await;
            bench.clock.pass(Duration::from_millis(750));
        }
        let after = bench.beats().await;
        assert_eq!(
            after[..2],
            [before[0] + 1, before[1] + 1],
            "one renewal was carried out, and no other sent"
        );
        assert!(due, "its standby may take it");
        assert!(after[2] > before[2] + 9, "another place is renewed as ever");

        bench.take(ShardId(0)).await;
        bench.log.unheard.lock().expect("whole").clear();
        let ended = bench.handles.remove(0);
        bench.renew().await;
        tokio::time::timeout(Duration::from_secs(30), ended.closed())
            .await
            .expect("in time");
        drop(ended);
        bench.rounds.shards.remove(ShardId(0));
        assert_eq!(
            bench.marked().await,
            [false; 2],
            "what nobody took is its own with the first round"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_closed_shard_is_renewed_no_more() {
        let mut bench = Bench::new().await;
        bench.rounds.go().await;
        let before = beat(&bench.log.inner).await;
        bench.handles[0]
            .close(Instant::now() + Duration::from_secs(20))
            .await;
        let closed = beat(&bench.log.inner).await;
        assert!(closed >= before);
        bench.rounds.go().await;
        assert_eq!(
            beat(&bench.log.inner).await,
            closed,
            "a standby is not kept from it until the process ends"
        );
    }

    /// How often a shard's lease was renewed, by its beat.
    pub(in crate::node::custody) async fn beat(log: &EmbeddedLog) -> u64 {
        log.control(ShardId(0))
            .await
            .expect("reads")
            .expect("claimed")
            .beat
    }
}
