//! The load: many clients over all routers, who write down what they ask for and what they see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::chaos::history::log::Log;
use crate::chaos::random::Random;

mod authors;

mod counting;

pub(crate) mod device;

pub(crate) mod finale;

pub(crate) mod flood;

mod goals;

mod governor;

pub(crate) mod http;

mod keeper;

mod known;

pub(crate) mod person;

mod reader;

mod reads;

mod receipts;

mod rivals;

mod seen;

mod sender;

mod unanswered;

/// Users with devices who stay where they are.
const USERS: u32 = 48;
/// Users with devices that are let in and put out again and again.
const GUESTS: u32 = 12;
/// The first guest's number.
const FIRST_GUEST: u32 = 500;
/// For what is under way at the end; then nothing is tried again, and it has half of that to end.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
/// Operations in doubt that are settled at once, each over a connection of its own; more wait.
/// While a machine is lost for good there are ten thousand of them, and routers and this process
/// have bounds too.
const SETTLING_MAX: usize = 1_000;
/// Most conversations that are made while the load runs.
const MADE_MAX: u32 = 150;

/// How much load, and of which kind.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Conversations from the beginning.
    pub(crate) conversations: u32,
    /// Messages per second of all senders together.
    pub(crate) rate: u64,
    /// Tasks that read.
    pub(crate) readers: u32,
    /// Bytes of a text.
    pub(crate) text_bytes: usize,
    /// Whether participants come and go, and how often, in milliseconds between two of one
    /// conversation.
    pub(crate) churn_ms: u64,
    /// Whether messages are edited and erased, and participants silenced and kept out.
    pub(crate) changes: bool,
    /// Whether some clients have conversations of their own, whose whole truth they know: for nodes
    /// of this version alone.
    pub(crate) known: bool,
    /// Whether each conversation has one guest, who comes again and again. Then nobody else has
    /// devices, for what those of others are told of a conversation tells their nodes of the guest
    /// too.
    pub(crate) regulars: bool,
}

impl Shape {
    /// Between two bursts of a device: two of three messages are sent by frame, so many at once in
    /// the mean.
    pub(crate) fn burst_pause(&self, burst: u64) -> Duration {
        Duration::from_micros(1_000_000 * u64::from(USERS) * burst * 3 / (self.rate.max(1) * 2))
    }

    /// Between two messages of a sender; each conversation has two, who write one of three messages
    /// by request.
    pub(crate) fn sender_pause(&self) -> Duration {
        Duration::from_micros(1_000_000 * u64::from(self.conversations) * 2 * 3 / self.rate.max(1))
    }
}

/// One conversation of the load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Its number.
    pub(crate) conversation: u32,
    /// Who made it.
    pub(crate) admin: u32,
    /// Who stays in it, the admin too.
    pub(crate) members: Vec<u32>,
}

/// What devices are to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mood {
    /// Each higher number drops all sockets.
    pub(crate) drops: u64,
    /// Some of them read nothing.
    pub(crate) slow: bool,
    /// How far they have to get, by conversation; then they end.
    pub(crate) goals: Option<Arc<BTreeMap<u32, u64>>>,
}

/// What all clients share.
#[derive(Debug)]
pub(crate) struct World {
    /// Where they write.
    pub(crate) log: Log,
    /// Where they connect.
    pub(crate) routers: Vec<String>,
    /// What tokens are signed with.
    pub(crate) secret: String,
    /// Where all randomness comes from.
    pub(crate) random: Random,
    /// How much load.
    pub(crate) shape: Shape,
    /// What devices are to do.
    pub(crate) mood: watch::Sender<Mood>,
    over: AtomicBool,
    gave_up: AtomicBool,
    groups: Mutex<Vec<Group>>,
    /// Operations in doubt that are being settled, each over a connection of its own.
    pub(crate) settling: Semaphore,
}

impl World {
    /// Nothing is there yet.
    pub(crate) fn new(
        log: Log,
        routers: Vec<String>,
        secret: String,
        random: Random,
        shape: Shape,
    ) -> Self {
        Self {
            log,
            routers,
            secret,
            random,
            shape,
            mood: watch::Sender::new(Mood::default()),
            over: AtomicBool::new(false),
            gave_up: AtomicBool::new(false),
            groups: Mutex::default(),
            settling: Semaphore::new(SETTLING_MAX),
        }
    }

    /// Whether nothing new is to begin.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Whether not even retries are worth it.
    pub(crate) fn gave_up(&self) -> bool {
        self.gave_up.load(Ordering::Relaxed)
    }

    /// All conversations so far.
    pub(crate) fn groups(&self) -> Vec<Group> {
        self.groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// One more.
    pub(crate) fn add_group(&self, group: Group) {
        self.groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(group);
    }

    /// One of them by chance.
    pub(crate) fn any_group(&self, random: &mut Random) -> Option<Group> {
        random
            .pick(&self.groups.lock().unwrap_or_else(PoisonError::into_inner))
            .cloned()
    }
}

/// Load that runs.
#[derive(Debug)]
pub(crate) struct Load {
    /// What its clients share.
    pub(crate) world: Arc<World>,
    working: JoinSet<()>,
    devices: JoinSet<()>,
}

impl Load {
    /// Makes the conversations, and starts all clients.
    pub(crate) async fn start(world: Arc<World>) -> Result<Self, String> {
        let mut making = JoinSet::new();
        for number in 0..world.shape.conversations {
            let world = Arc::clone(&world);
            making.spawn(async move { keeper::create(&world, number, &members_of(number)).await });
        }

        while let Some(made) = making.join_next().await {
            made.map_err(|error| error.to_string())??;
        }

        world.log.expect(world.shape.conversations);
        let mut load = Self {
            world,
            working: JoinSet::new(),
            devices: JoinSet::new(),
        };

        load.start_devices();
        load.start_workers();
        Ok(load)
    }

    fn start_devices(&mut self) {
        let mut members: BTreeSet<u32> = self
            .world
            .groups()
            .into_iter()
            .flat_map(|group| group.members)
            .collect();
        if self.world.shape.regulars {
            members.clear();
        }
        for user in members.into_iter().chain(FIRST_GUEST..FIRST_GUEST + GUESTS) {
            self.devices
                .spawn(device::Device::new(Arc::clone(&self.world), user).run());
        }
    }

    fn start_workers(&mut self) {
        let groups = self.world.groups();
        let pause = self.world.shape.sender_pause();

        for group in groups {
            let world = &self.world;
            for member in group.members.iter().take(2) {
                self.working.spawn(sender::run(
                    Arc::clone(world),
                    *member,
                    group.conversation,
                    pause,
                ));
            }
            self.working
                .spawn(receipts::run(Arc::clone(world), group.clone()));
            if world.shape.changes {
                self.working
                    .spawn(authors::run(Arc::clone(world), group.clone()));
                self.working
                    .spawn(governor::run(Arc::clone(world), group.clone()));
            }
            if world.shape.regulars {
                self.working
                    .spawn(keeper::run_regular(Arc::clone(world), group));
            } else if world.shape.churn_ms > 0 {
                self.working.spawn(keeper::run(Arc::clone(world), group));
            }
        }

        if self.world.shape.known {
            known::start(&self.world, &mut self.working);
        }
        for number in 0..self.world.shape.readers {
            self.working
                .spawn(reader::run(Arc::clone(&self.world), number));
        }

        if self.world.shape.churn_ms > 0 {
            self.working
                .spawn(keeper::make_more(Arc::clone(&self.world), MADE_MAX));
            self.working.spawn(rivals::names(Arc::clone(&self.world)));
            self.working.spawn(rivals::keys(Arc::clone(&self.world)));
        }
    }

    /// Waits until every conversation of the beginning has a message acknowledged that was not
    /// before; those that have not when the time is up.
    pub(crate) async fn flows(&self, within: Duration) -> Vec<u32> {
        let before = self.world.log.flow();
        let end = std::time::Instant::now() + within;
        loop {
            let now = self.world.log.flow();
            let stuck = (0..self.world.shape.conversations).filter(|number| {
                now.get(number).copied().unwrap_or(0) <= before.get(number).copied().unwrap_or(0)
            });
            let stuck: Vec<u32> = stuck.collect();
            if stuck.is_empty() || std::time::Instant::now() > end || self.world.log.is_wrong() {
                return stuck;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Lets all end what they began; then everything is read, by several and to its end, and
    /// devices get there too.
    pub(crate) async fn finish(mut self) {
        self.end_workers().await;
        self.nothing_under_way().await;
        let world = Arc::clone(&self.world);
        let goals = Arc::new(finale::read_all(&world).await);
        finale::lists(&world).await;
        counting::count(&world).await;
        world
            .mood
            .send_modify(|mood| (mood.slow, mood.goals) = (false, Some(goals)));
        while self.devices.join_next().await.is_some() {}
    }

    async fn end_workers(&mut self) {
        self.world.over.store(true, Ordering::Relaxed);
        let patience = tokio::time::sleep(Duration::from_secs(40));
        tokio::pin!(patience);
        loop {
            tokio::select! {
                ended = self.working.join_next() => if ended.is_none() { return },
                () = &mut patience => break,
            }
        }
        self.world.gave_up.store(true, Ordering::Relaxed);
        while self.working.join_next().await.is_some() {}
    }

    /// Waits until all that was begun has ended, also what devices sent by frame: what is written
    /// while everything is read for the last time would look as if it were lost. What has not ended
    /// in time is not waited for.
    async fn nothing_under_way(&self) {
        for patience in [SETTLED_WITHIN, SETTLED_WITHIN / 2] {
            let end = std::time::Instant::now() + patience;
            while std::time::Instant::now() < end {
                if self.world.log.under_way() == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.world.gave_up.store(true, Ordering::Relaxed);
        }
    }

    /// Ends everything at once: something is wrong already.
    pub(crate) fn abandon(mut self) {
        self.world.over.store(true, Ordering::Relaxed);
        self.world.gave_up.store(true, Ordering::Relaxed);
        self.working.abort_all();
        self.devices.abort_all();
    }
}

/// Who stays in a conversation of the beginning: six, and each of them in several conversations.
fn members_of(number: u32) -> Vec<u32> {
    (0..6)
        .map(|member| (number * 4 + member * 7) % USERS)
        .collect::<BTreeSet<u32>>()
        .into_iter()
        .collect()
}
