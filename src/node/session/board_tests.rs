//! The board against a model of owners, under any interleaving of commits, pushes, lost links,
//! answers, removals, and resumes: each session sees each seq once, in order, with holes only where
//! a gap was told, and nothing after its user's own `left` (I9, I10).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use super::board::Board;
use super::board::state::Resumed;
use super::board::work::{Ask, Fetch, Load, Work};
use super::testing::{self, frames, session_on};
use super::window::{Router, Session};
use crate::cluster::map::ShardMap;
use crate::ids::{ConversationName, Epoch, MessageId, Offset, Seq, SessionId, Slot, UserId};
use crate::link::front::attach::Stage;
use crate::log::record::{Event, EventKind};
use crate::problem::Problem;
use crate::shard::IndexPage;
use crate::shard::command::{IndexItem, Push, Subscribed};

const CONVERSATIONS: [&str; 2] = ["c0", "c1"];
const USERS: [&str; 3] = ["u0", "u1", "u2"];

fn conversation(index: usize) -> ConversationName {
    ConversationName::parse(CONVERSATIONS[index]).expect("a name")
}

fn user(index: usize) -> UserId {
    UserId::parse(USERS[index]).expect("a name")
}

/// Conversations, memberships and indexes as their owners have them, and what is on its way to the
/// node.
#[derive(Default)]
struct Owners {
    histories: BTreeMap<ConversationName, Vec<Arc<Event>>>,
    /// Index rows of each user in the order of their versions.
    indexes: HashMap<UserId, Vec<IndexItem>>,
    /// Interests registered for the node.
    interests: HashMap<(ConversationName, UserId), ()>,
    pushes: VecDeque<Push>,
    epoch: u64,
    /// Pushes are being dropped until the node is told to subscribe again.
    lagged: bool,
    /// The shards of users are not told: changes of indexes wait.
    unheard: bool,
    changes: VecDeque<(UserId, ConversationName, Seq, bool)>,
}

impl Owners {
    fn members(&self, name: &ConversationName) -> BTreeMap<UserId, Seq> {
        let mut members = BTreeMap::new();
        for event in self.histories.get(name).into_iter().flatten() {
            match &event.kind {
                EventKind::Created {
                    participants: users,
                    ..
                }
                | EventKind::Joined { users, .. } => {
                    members.extend(users.iter().map(|user| (user.clone(), event.seq)));
                }
                EventKind::Left { user, .. } => {
                    members.remove(user);
                }
                EventKind::Message { .. }
                | EventKind::Edited { .. }
                | EventKind::Deleted { .. } => {}
            }
        }
        members
    }

    /// The first time they were added after `left`.
    fn joined_after(&self, name: &ConversationName, user: &UserId, left: Seq) -> Option<Seq> {
        let mut events = self
            .histories
            .get(name)?
            .iter()
            .filter(|event| event.seq > left);
        events
            .find(|event| matches!(&event.kind, EventKind::Joined { users, .. } if users.contains(user)))
            .map(|event| event.seq)
    }

    /// Their last `left` in between.
    fn left_within(
        &self,
        name: &ConversationName,
        of: &UserId,
        after: Seq,
        before: Seq,
    ) -> Option<Seq> {
        let within = |event: &&Arc<Event>| event.seq > after && event.seq < before;
        let left =
            |event: &&Arc<Event>| matches!(&event.kind, EventKind::Left { user, .. } if user == of);
        self.histories
            .get(name)?
            .iter()
            .filter(within)
            .rfind(left)
            .map(|event| event.seq)
    }

    /// Their last membership that ended, and whether there was another one since.
    fn departure(&self, name: &ConversationName, of: &UserId) -> Option<(Seq, Seq)> {
        let (mut joined, mut last) = (None, None);
        for event in self.histories.get(name).into_iter().flatten() {
            match &event.kind {
                EventKind::Created {
                    participants: users,
                    ..
                }
                | EventKind::Joined { users, .. }
                    if users.contains(of) =>
                {
                    joined = Some(event.seq);
                }
                EventKind::Left { user, .. } if user == of => {
                    last = joined.map(|at| (at, event.seq))
                }
                _ => {}
            }
        }
        last
    }

    /// Changes of indexes arrive: of each conversation the last one stands, and each is pushed.
    fn tell_indexes(&mut self) {
        while let Some((user, name, seq, joined)) = self.changes.pop_front() {
            let rows = self.indexes.entry(user.clone()).or_default();
            let version = Offset(rows.last().map_or(0, |row| row.version.0) + 1);
            rows.retain(|row| row.conversation != name);
            let item = IndexItem {
                conversation: name,
                seq,
                joined,
                version,
            };
            rows.push(item.clone());
            self.push(Push::Index { user, item });
        }
    }

    fn tail(&self, name: &ConversationName) -> Seq {
        Seq(self
            .histories
            .get(name)
            .map_or(0, |events| events.len() as u64))
    }

    fn push(&mut self, push: Push) {
        if !self.lagged {
            self.pushes.push_back(push);
        }
    }

    fn commit(&mut self, name: &ConversationName, kind: EventKind) {
        let seq = self.tail(name).next();
        let changed: Vec<_> = match &kind {
            EventKind::Created {
                participants: users,
                ..
            }
            | EventKind::Joined { users, .. } => {
                users.iter().map(|user| (user.clone(), true)).collect()
            }
            EventKind::Left { user, .. } => vec![(user.clone(), false)],
            EventKind::Message { .. } | EventKind::Edited { .. } | EventKind::Deleted { .. } => {
                Vec::new()
            }
        };
        let event = Arc::new(Event {
            conversation: name.clone(),
            seq,
            created: seq.0,
            key: None,
            kind,
        });
        self.histories
            .entry(name.clone())
            .or_default()
            .push(Arc::clone(&event));
        if self.interests.keys().any(|(of, _)| of == name) {
            self.push(Push::Event {
                epoch: Epoch(self.epoch),
                event,
            });
        }
        for (user, joined) in changed {
            if !joined {
                self.interests.remove(&(name.clone(), user.clone()));
            }
            self.changes.push_back((user, name.clone(), seq, joined));
        }
        if !self.unheard {
            self.tell_indexes();
        }
    }

    fn say(&mut self, name: &ConversationName, by: &UserId) {
        let id = MessageId::new(1, Slot(0), self.tail(name).0);
        let kind = EventKind::plain(id, by.clone(), "x");
        self.commit(name, kind);
    }

    fn subscribe(&mut self, ask: &Ask) -> Subscribed {
        let tail = self.tail(&ask.conversation);
        let events = |upto: Seq| -> Vec<_> {
            let Some(after) = ask.after else {
                return Vec::new();
            };
            let history = self.histories.get(&ask.conversation).into_iter().flatten();
            let span = history.filter(|event| event.seq > after && event.seq <= upto);
            span.take(ask.limit as usize).cloned().collect()
        };
        if let Some(joined) = self.members(&ask.conversation).get(&ask.user) {
            let departure = self.departure(&ask.conversation, &ask.user);
            let departed = departure
                .map(|(_, left)| left)
                .filter(|left| ask.since.is_some_and(|since| *left > since));
            let answer = Subscribed::Live {
                tail,
                joined: *joined,
                events: events(tail),
                departed,
            };
            self.interests
                .insert((ask.conversation.clone(), ask.user.clone()), ());
            return answer;
        }
        let mut span = None;
        for event in self.histories.get(&ask.conversation).into_iter().flatten() {
            match &event.kind {
                EventKind::Created {
                    participants: users,
                    ..
                }
                | EventKind::Joined { users, .. }
                    if users.contains(&ask.user) =>
                {
                    span = Some((event.seq, event.seq));
                }
                EventKind::Left { user, .. } if *user == ask.user => {
                    span = span.map(|(joined, _)| (joined, event.seq));
                }
                _ => {}
            }
        }
        match (span, ask.after) {
            (Some((joined, left)), Some(after)) if after.next() >= joined && after < left => {
                let departed = ask.since.and_then(|since| {
                    self.left_within(&ask.conversation, &ask.user, since, joined)
                });
                Subscribed::Ended {
                    left,
                    events: events(left),
                    departed,
                }
            }
            _ => Subscribed::NotParticipant,
        }
    }
}

/// What one session was sent, checked as it comes.
struct Client {
    session: Arc<Session>,
    user: UserId,
    /// Per conversation the last seq seen, if it is in it.
    seen: HashMap<ConversationName, Seq>,
    /// After the own `left` only a start right before an own `joined` is allowed.
    out: HashMap<ConversationName, Seq>,
    /// What is neither `seen` nor `out`, and how far the conversation was when the session was told
    /// so, by `ready` or by a gap: of a membership that begins later something has to be told.
    strange: HashMap<ConversationName, Seq>,
    ready: usize,
    /// It waits for its resume.
    held: bool,
    /// What it resumed, while no cursor is set: a router says it again to another node.
    unplaced: Option<BTreeMap<ConversationName, Seq>>,
}

/// Has a session resume. What is to be said again while no cursor is set.
fn resumed(
    board: &mut Board,
    id: SessionId,
    positions: BTreeMap<ConversationName, Seq>,
) -> Option<BTreeMap<ConversationName, Seq>> {
    (board.resume(id, positions.clone(), false) == Resumed::Later).then_some(positions)
}

impl Client {
    fn take(&mut self, owners: &Owners) -> Result<(), TestCaseError> {
        for frame in frames(&self.session) {
            let name = |field: &str| {
                ConversationName::parse(frame[field].as_str().expect("a name")).expect("a name")
            };
            match frame["t"].as_str().expect("t") {
                "message" | "event" => {
                    let (name, seq) = (
                        name("conversation"),
                        Seq(frame["seq"].as_u64().expect("seq")),
                    );
                    if let Some(left) = self.out.remove(&name) {
                        // In again, they may also get what lies between: members read the whole
                        // history. No membership is passed over.
                        let again = owners.joined_after(&name, &self.user, left);
                        prop_assert!(again.is_some(), "{frame} after own left {left}");
                        prop_assert!(
                            again == Some(seq) || seq == left.next(),
                            "{frame} after own left {left}, in {again:?}"
                        );
                    } else if let Some(seen) = self.seen.get(&name) {
                        prop_assert_eq!(seq, seen.next(), "{} does not continue {}", frame, seen);
                    } else if let Some(strange) = self.strange.remove(&name) {
                        let joined = owners.joined_after(&name, &self.user, strange);
                        prop_assert!(
                            joined.is_none_or(|at| seq <= at),
                            "{frame}, and in already at {joined:?}"
                        );
                    }
                    self.seen.insert(name.clone(), seq);
                    if frame["kind"] == "left" && frame["user"] == self.user.as_str() {
                        self.seen.remove(&name);
                        self.out.insert(name, seq);
                    }
                }
                "gap" => {
                    let (name, to) = (name("conversation"), Seq(frame["to"].as_u64().expect("to")));
                    let from = Seq(frame["from"].as_u64().expect("from"));
                    self.out.remove(&name);
                    self.strange.remove(&name);
                    match frame["reason"].as_str().expect("reason") {
                        "replaced" => drop(self.seen.insert(name, Seq(from.0 - 1))),
                        "not_participant" => {
                            self.seen.remove(&name);
                            let tail = owners.tail(&name);
                            self.strange.insert(name, tail);
                        }
                        _ => drop(self.seen.insert(name, to)),
                    }
                }
                "ready" => {
                    self.ready += 1;
                    self.begin(owners);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Told `ready` for the first time: of other conversations it knows that its user was in none
    /// of them before now.
    fn begin(&mut self, owners: &Owners) {
        for name in (0..CONVERSATIONS.len())
            .map(conversation)
            .filter(|_| self.ready == 1)
        {
            if !self.seen.contains_key(&name) && !self.out.contains_key(&name) {
                let tail = owners.tail(&name);
                self.strange.entry(name).or_insert(tail);
            }
        }
    }

    /// At rest: no membership began since it was told last that its user is out.
    fn missed(&self, owners: &Owners, name: &ConversationName) -> Option<Seq> {
        let told = self.out.get(name).or_else(|| self.strange.get(name))?;
        owners.joined_after(name, &self.user, *told)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Say(usize, usize),
    Join(usize, usize),
    Leave(usize, usize),
    Deliver,
    /// The pushes of a shard are lost from now on, until the node is told.
    Lose,
    Tell,
    /// The shards of users are not told of changes from now on, or are told again.
    Indexes(bool),
    /// The owner takes the n-th waiting request, now.
    Decide(usize),
    /// The n-th decided answer arrives.
    Arrive(usize, bool),
    Open(usize, bool),
    Close(usize),
    /// Another connection carries it on, to the same node.
    Move(usize),
    /// The node dies with all that is under way, and another one goes on with all sessions.
    Die,
    Resume(usize, usize, u64),
    Drain(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..2_usize, 0..3_usize).prop_map(|(c, u)| Step::Say(c, u)),
        2 => (0..2_usize, 0..3_usize).prop_map(|(c, u)| Step::Join(c, u)),
        2 => (0..2_usize, 0..3_usize).prop_map(|(c, u)| Step::Leave(c, u)),
        8 => Just(Step::Deliver),
        1 => Just(Step::Lose),
        1 => Just(Step::Tell),
        1 => any::<bool>().prop_map(Step::Indexes),
        6 => (0..8_usize).prop_map(Step::Decide),
        6 => (0..8_usize, prop::bool::weighted(0.1)).prop_map(|(n, fails)| Step::Arrive(n, fails)),
        2 => (0..3_usize, any::<bool>()).prop_map(|(u, held)| Step::Open(u, held)),
        1 => (0..6_usize).prop_map(Step::Close),
        1 => (0..6_usize).prop_map(Step::Move),
        1 => Just(Step::Die),
        1 => (0..6_usize, 0..2_usize, 0..12_u64).prop_map(|(s, c, p)| Step::Resume(s, c, p)),
        3 => (0..6_usize).prop_map(Step::Drain),
    ];
    prop::collection::vec(step, 0..120)
}

enum Waiting {
    Asks(Vec<Ask>),
    Fetch(Fetch),
    Load(Load),
}

enum Answer {
    Asks(Vec<Ask>, Vec<Subscribed>),
    Fetch(Fetch, Vec<Subscribed>),
    Load(Load, IndexPage),
}

struct World {
    board: Board,
    owners: Owners,
    clients: Vec<Client>,
    waiting: Vec<Waiting>,
    answers: Vec<Answer>,
    outbox: usize,
    /// All sessions are on one connection.
    router: Arc<Router>,
}

impl World {
    fn new(outbox: usize) -> Self {
        let board = Board::new(ShardMap::new(1).expect("a power of two"));
        let mut owners = Owners {
            epoch: 1,
            ..Owners::default()
        };
        for index in 0..2 {
            let participants = vec![user(0), user(1)];
            owners.commit(
                &conversation(index),
                EventKind::Created {
                    by: user(0),
                    title: None,
                    participants,
                },
            );
        }
        owners.pushes.clear();
        Self {
            board,
            owners,
            clients: Vec::new(),
            waiting: Vec::new(),
            answers: Vec::new(),
            outbox,
            router: testing::router(),
        }
    }

    fn gather(&mut self) {
        self.board.tell_stands();
        let Work {
            asks,
            fetches,
            loads,
            ended,
            ended_indexes: _,
            forgotten: _,
        } = self.board.take_work();
        for (name, user) in ended {
            self.owners.interests.remove(&(name, user));
        }
        if !asks.is_empty() {
            self.waiting.push(Waiting::Asks(asks));
        }
        self.waiting.extend(fetches.into_iter().map(Waiting::Fetch));
        self.waiting.extend(loads.into_iter().map(Waiting::Load));
    }

    fn decide(&mut self, index: usize) {
        if self.waiting.is_empty() {
            return;
        }
        let answer = match self.waiting.remove(index % self.waiting.len()) {
            Waiting::Asks(asks) => {
                let answers = asks.iter().map(|ask| self.owners.subscribe(ask)).collect();
                Answer::Asks(asks, answers)
            }
            Waiting::Fetch(fetch) => {
                let answers = fetch
                    .asks
                    .iter()
                    .map(|ask| self.owners.subscribe(ask))
                    .collect();
                Answer::Fetch(fetch, answers)
            }
            Waiting::Load(load) => {
                let rows = self.owners.indexes.get(&load.user).into_iter().flatten();
                let mut items: Vec<_> = rows
                    .filter(|row| row.version > load.after)
                    .cloned()
                    .collect();
                let more = items.len() > 1;
                items.truncate(1);
                Answer::Load(load, IndexPage { items, more })
            }
        };
        self.answers.push(answer);
    }

    fn arrive(&mut self, index: usize, fails: bool) {
        if self.answers.is_empty() {
            return;
        }
        let failed = |answers: Vec<Subscribed>| -> Vec<Subscribed> {
            let failed = || Subscribed::Failed(Problem::unavailable("test"));
            answers
                .into_iter()
                .map(|answer| if fails { failed() } else { answer })
                .collect()
        };
        match self.answers.remove(index % self.answers.len()) {
            Answer::Asks(asks, answers) => {
                for (ask, answer) in asks.iter().zip(failed(answers)) {
                    self.board.subscribed(ask, answer);
                }
            }
            Answer::Fetch(fetch, answers) => self.board.fetched(&fetch, failed(answers)),
            Answer::Load(load, _) if fails => self.board.load_failed(load),
            Answer::Load(load, page) => self.board.loaded(&load, &page),
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each step")]
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Say(c, u) if self.owners.members(&conversation(c)).contains_key(&user(u)) => {
                self.owners.say(&conversation(c), &user(u));
            }
            Step::Join(c, u) if !self.owners.members(&conversation(c)).contains_key(&user(u)) => {
                let kind = EventKind::Joined {
                    by: user(0),
                    users: vec![user(u)],
                };
                self.owners.commit(&conversation(c), kind);
            }
            Step::Leave(c, u) if self.owners.members(&conversation(c)).contains_key(&user(u)) => {
                let kind = EventKind::Left {
                    by: user(0),
                    user: user(u),
                    admin: None,
                };
                self.owners.commit(&conversation(c), kind);
            }
            Step::Deliver => {
                if let Some(push) = self.owners.pushes.pop_front() {
                    self.board.push(push);
                }
            }
            Step::Lose => self.owners.lagged = true,
            Step::Tell if self.owners.lagged => {
                self.owners.lagged = false;
                self.owners.epoch += 1;
                self.owners.interests.clear();
                self.owners.pushes.push_back(Push::Resubscribe {
                    shard: crate::ids::ShardId(0),
                });
            }
            Step::Indexes(heard) => {
                self.owners.unheard = !heard;
                if heard {
                    self.owners.tell_indexes();
                }
            }
            Step::Decide(index) => self.decide(index),
            Step::Arrive(index, fails) => self.arrive(index, fails),
            Step::Open(u, held) if self.clients.len() < 6 => {
                let session = session_on(&self.router, user(u), self.outbox);
                self.board.open(&session, held);
                let (seen, out, strange) = (HashMap::new(), HashMap::new(), HashMap::new());
                let (user, ready, unplaced) = (user(u), 0, None);
                self.clients.push(Client {
                    session,
                    user,
                    seen,
                    out,
                    strange,
                    ready,
                    held,
                    unplaced,
                });
            }
            Step::Close(s) if s < self.clients.len() => {
                let client = self.clients.remove(s);
                self.board.close(client.session.id);
            }
            Step::Move(s) if s < self.clients.len() => self.moves(s)?,
            Step::Die => self.die()?,
            Step::Resume(s, c, position) if s < self.clients.len() => {
                self.resume(s, c, position)?
            }
            Step::Drain(s) if s < self.clients.len() => self.drain(s)?,
            _ => {}
        }
        self.gather();
        Ok(())
    }

    fn moves(&mut self, s: usize) -> Result<(), TestCaseError> {
        let old = Arc::clone(&self.clients[s].session);
        self.clients[s].take(&self.owners)?;
        old.gone();
        self.board.close(old.id);
        self.gather();
        self.goes_on(s, &old);
        Ok(())
    }

    fn die(&mut self) -> Result<(), TestCaseError> {
        for client in &mut self.clients {
            client.take(&self.owners)?;
            client.session.gone();
        }
        self.board = Board::new(ShardMap::new(1).expect("a power of two"));
        (self.waiting, self.answers) = (Vec::new(), Vec::new());
        (self.owners.interests, self.owners.pushes) = (HashMap::new(), VecDeque::new());
        self.owners.lagged = false;
        self.router = testing::router();
        for s in 0..self.clients.len() {
            let old = Arc::clone(&self.clients[s].session);
            self.goes_on(s, &old);
        }
        Ok(())
    }

    /// A session that was there goes on here, as its router tells.
    fn goes_on(&mut self, s: usize, old: &Session) {
        let first = if self.clients[s].held {
            Stage::Waits
        } else {
            Stage::Begun
        };
        let (session, attach, was_placed) = testing::moved(old, &self.router, self.outbox, first);
        self.board.goes_on(&session, attach);
        let client = &mut self.clients[s];
        client.session = session;
        // A resume is said again as long as no cursor was set for it.
        if let Some(positions) = client.unplaced.take().filter(|_| !was_placed) {
            client.unplaced = resumed(&mut self.board, client.session.id, positions);
        }
        self.gather();
    }

    fn resume(&mut self, s: usize, c: usize, position: u64) -> Result<(), TestCaseError> {
        // What was queued before belongs to the old cursor.
        self.clients[s].take(&self.owners)?;
        let client = &mut self.clients[s];
        client.held = false;
        let named = BTreeMap::from([(conversation(c), Seq(position))]);
        let before = client
            .unplaced
            .take()
            .filter(|_| !testing::is_placed(&client.session));
        let unplaced = resumed(&mut self.board, client.session.id, named);
        client.unplaced = unplaced.map(|all| before.into_iter().flatten().chain(all).collect());
        client.seen.insert(conversation(c), Seq(position));
        client.out.remove(&conversation(c));
        client.strange.remove(&conversation(c));
        Ok(())
    }

    fn drain(&mut self, s: usize) -> Result<(), TestCaseError> {
        self.clients[s].take(&self.owners)?;
        let id = self.clients[s].session.id;
        self.board.has_room(id);
        Ok(())
    }

    /// Everything under way arrives, all outboxes are read.
    fn come_to_rest(&mut self) -> Result<(), TestCaseError> {
        self.step(&Step::Tell)?;
        self.step(&Step::Indexes(true))?;
        let held: Vec<SessionId> = self
            .clients
            .iter()
            .map(|client| client.session.id)
            .collect();
        for id in held {
            self.board.stop_waiting(id);
        }
        for _ in 0..5_000 {
            self.gather();
            let idle =
                self.owners.pushes.is_empty() && self.waiting.is_empty() && self.answers.is_empty();
            self.step(&Step::Deliver)?;
            self.decide(0);
            self.arrive(0, false);
            for s in 0..self.clients.len() {
                self.drain(s)?;
            }
            self.gather();
            if idle && self.waiting.is_empty() {
                // The last room that was made may have let something in that waits for nothing
                // else.
                for client in &mut self.clients {
                    client.take(&self.owners)?;
                }
                return Ok(());
            }
        }
        Err(TestCaseError::fail("it never comes to rest"))
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for client in &self.clients {
            prop_assert!(client.ready >= 1, "{} is never ready", client.user);
            prop_assert!(
                !client.session.has_ended(),
                "nothing that is sent ends a session"
            );
            for index in 0..2 {
                let name = conversation(index);
                let is_member = self.owners.members(&name).contains_key(&client.user);
                let place = self.board.feeds.get(&name).and_then(|feed| {
                    let member = feed.members.get(&client.user)?;
                    member
                        .places
                        .iter()
                        .find(|place| place.session.id == client.session.id)
                });
                prop_assert_eq!(place.is_some(), is_member, "{} in {}", client.user, name);
                let missed = client.missed(&self.owners, &name);
                prop_assert!(
                    missed.is_none(),
                    "{} was in {name} at {missed:?}, and was told nothing",
                    client.user
                );
                if let Some(place) = place {
                    let tail = self.owners.tail(&name);
                    prop_assert_eq!(place.cursor, super::board::state::Cursor::Live { seq: tail });
                    if let Some(seen) = client.seen.get(&name) {
                        prop_assert_eq!(*seen, tail, "{} saw all of {}", client.user, name);
                    }
                    prop_assert!(
                        self.owners
                            .interests
                            .contains_key(&(name, client.user.clone()))
                    );
                }
            }
        }
        Ok(())
    }
}

/// The index of a user lags behind what their session was shown, and the node dies: the stay that
/// was shown is not shown again.
#[test]
fn what_a_session_was_shown_counts_where_the_index_of_the_next_node_is_older() {
    let mut world = World::new(1 << 20);
    let run = |at: &mut World, steps: &[Step]| {
        steps
            .iter()
            .for_each(|step| at.step(step).expect("as promised"))
    };
    let settle = |at: &mut World| {
        for _ in 0..50 {
            run(
                at,
                &[
                    Step::Deliver,
                    Step::Decide(0),
                    Step::Arrive(0, false),
                    Step::Drain(0),
                    Step::Drain(1),
                ],
            );
        }
    };
    run(&mut world, &[Step::Open(0, false), Step::Open(2, false)]);
    settle(&mut world);
    run(
        &mut world,
        &[Step::Join(0, 2), Step::Say(0, 0), Step::Leave(0, 2)],
    );
    settle(&mut world);
    run(
        &mut world,
        &[
            Step::Indexes(false),
            Step::Join(0, 2),
            Step::Say(0, 0),
            Step::Leave(0, 2),
        ],
    );
    settle(&mut world);
    run(&mut world, &[Step::Die]);
    settle(&mut world);
    run(
        &mut world,
        &[Step::Join(0, 2), Step::Say(0, 0), Step::Indexes(true)],
    );
    world.come_to_rest().expect("as promised");
    world.check().expect("as promised");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_session_sees_each_seq_once_in_order_and_ends_at_the_tail(steps in steps(), small: bool) {
        // A small one has room for a few events: most sessions fall behind in bursts, and are
        // served by spans.
        let mut world = World::new(if small { 800 } else { 1 << 20 });
        for step in &steps {
            world.step(step)?;
        }
        world.come_to_rest()?;
        world.check()?;
    }
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
fn five_thousand_conversations_of_one_user_are_asked_for_once_and_told_live_in_frames_of_two_hundred()
 {
    let mut board = Board::new(ShardMap::new(16).expect("a power of two"));
    let open = |at: &mut Board| {
        let session = session_on(&testing::router(), user(0), 1 << 20);
        at.open(&session, true);
        session
    };
    let session = open(&mut board);
    let load = board.take_work().loads.remove(0);
    let name = |index: u64| ConversationName::parse(&format!("many{index}")).expect("a name");
    let item = |index| IndexItem {
        conversation: name(index),
        seq: Seq(1),
        joined: true,
        version: Offset(index + 1),
    };
    board.loaded(
        &load,
        &IndexPage {
            items: (0..5_000).map(item).collect(),
            more: false,
        },
    );
    let asks = board.take_work().asks;
    assert_eq!(asks.len(), 5_000);
    for ask in &asks {
        board.subscribed(
            ask,
            Subscribed::Live {
                tail: Seq(3),
                joined: Seq(1),
                events: Vec::new(),
                departed: None,
            },
        );
    }
    for part in 0..10 {
        let positions = (part * 500..part * 500 + 500)
            .map(|index| (name(index), Seq(3)))
            .collect();
        assert_ne!(
            board.resume(session.id, positions, part < 9),
            Resumed::TooMany
        );
    }
    let work = board.take_work();
    assert!(
        work.asks.is_empty() && work.fetches.is_empty(),
        "all of it is known"
    );
    let frames = frames(&session);
    assert_eq!(frames.len(), 26, "25 live and one ready");
    assert!(
        frames[..25]
            .iter()
            .all(|frame| frame["positions"].as_object().expect("positions").len() == 200)
    );
    assert_eq!(frames[25]["t"], "ready");
    let second = open(&mut board);
    board.stop_waiting(second.id);
    assert!(
        board.take_work().asks.is_empty(),
        "a further device uses the same subscriptions"
    );
    board.close(session.id);
    assert!(board.take_work().ended.is_empty(), "one device is left");
    board.close(second.id);
    let last = board.take_work();
    assert_eq!((last.ended.len(), last.ended_indexes.len()), (5_000, 1));
    assert!(board.feeds.is_empty() && board.users.is_empty());
}

#[test]
fn a_resume_of_twenty_thousand_conversations_is_told_at_the_pace_of_the_socket() {
    let mut board = Board::new(ShardMap::new(16).expect("a power of two"));
    let name = |index: u64| {
        ConversationName::parse(&format!("a-conversation-with-a-long-name-{index}"))
            .expect("a name")
    };
    let bytes_max = 64 * 1024;
    let session = session_on(&testing::router(), user(0), bytes_max);
    board.open(&session, true);
    let load = board.take_work().loads.remove(0);
    let item = |index| IndexItem {
        conversation: name(index),
        seq: Seq(1),
        joined: true,
        version: Offset(index + 1),
    };
    board.loaded(
        &load,
        &IndexPage {
            items: (0..20_000).map(item).collect(),
            more: false,
        },
    );
    for ask in board.take_work().asks {
        board.subscribed(
            &ask,
            Subscribed::Live {
                tail: Seq(3),
                joined: Seq(1),
                events: Vec::new(),
                departed: None,
            },
        );
    }
    for part in 0..40 {
        let positions = (part * 500..part * 500 + 500)
            .map(|index| (name(index), Seq(3)))
            .collect();
        assert_ne!(
            board.resume(session.id, positions, part < 39),
            Resumed::TooMany
        );
    }
    let mut told = 0;
    loop {
        let taken = frames_of(&session, bytes_max);
        assert!(!session.has_ended(), "after {told} conversations");
        told += taken
            .iter()
            .filter_map(|frame| frame["positions"].as_object())
            .map(serde_json::Map::len)
            .sum::<usize>();
        if taken.iter().any(|frame| frame["t"] == "ready") {
            break;
        }
        assert!(!taken.is_empty(), "it stops after {told}");
        board.has_room(session.id);
    }
    assert_eq!(told, 20_000, "all of them, before `ready`");
}

/// What is queued; no more than fits.
fn frames_of(session: &Session, bytes_max: usize) -> Vec<Value> {
    let found = frames(session);
    let bytes: usize = found.iter().map(|frame| frame.to_string().len()).sum();
    assert!(bytes <= bytes_max, "{bytes} bytes at once");
    found
}

#[test]
fn a_session_that_reads_too_slowly_gets_a_gap_for_what_is_too_far_back_and_then_the_rest() {
    let mut board = Board::new(ShardMap::new(1).expect("a power of two"));
    let session = session_on(&testing::router(), user(0), 4_000);
    board.open(&session, false);
    let load = board.take_work().loads.remove(0);
    let item = IndexItem {
        conversation: conversation(0),
        seq: Seq(1),
        joined: true,
        version: Offset(1),
    };
    board.loaded(
        &load,
        &IndexPage {
            items: vec![item],
            more: false,
        },
    );
    let mut owners = Owners::default();
    owners.commit(
        &conversation(0),
        EventKind::Created {
            by: user(0),
            title: None,
            participants: vec![user(0)],
        },
    );
    let ask = board.take_work().asks.remove(0);
    board.subscribed(&ask, owners.subscribe(&ask));
    for _ in 0..3_000 {
        owners.say(&conversation(0), &user(0));
    }
    while let Some(push) = owners.pushes.pop_front() {
        board.push(push);
    }
    let mut told = Vec::new();
    for _ in 0..2_000 {
        told.extend(frames_of(&session, 8_000));
        board.has_room(session.id);
        for fetch in board.take_work().fetches {
            let answers = fetch.asks.iter().map(|of| owners.subscribe(of)).collect();
            board.fetched(&fetch, answers);
        }
    }
    assert!(!session.has_ended());
    let mut last = 1;
    let mut gaps = 0;
    for frame in told
        .iter()
        .filter(|frame| frame["t"] == "message" || frame["t"] == "gap")
    {
        let seq = frame
            .get("from")
            .or_else(|| frame.get("seq"))
            .and_then(Value::as_u64)
            .expect("a seq");
        assert_eq!(seq, last + 1, "{frame}");
        last = frame.get("to").and_then(Value::as_u64).unwrap_or(seq);
        gaps += usize::from(frame["t"] == "gap");
    }
    assert_eq!((last, gaps), (3_001, 1));
}

/// The session is live in the first conversation, of which it has seq 1.
fn live(board: &mut Board, session: &Arc<Session>) {
    board.open(session, false);
    let load = board.take_work().loads.remove(0);
    let item = IndexItem {
        conversation: conversation(0),
        seq: Seq(1),
        joined: true,
        version: Offset(1),
    };
    board.loaded(
        &load,
        &IndexPage {
            items: vec![item],
            more: false,
        },
    );
    let ask = board.take_work().asks.remove(0);
    board.subscribed(
        &ask,
        Subscribed::Live {
            tail: Seq(1),
            joined: Seq(1),
            events: Vec::new(),
            departed: None,
        },
    );
}

/// ADR 7, interleaving 12.
#[test]
fn sessions_of_a_full_link_fall_behind_and_fetch_when_there_is_room() {
    let mut board = Board::new(ShardMap::new(1).expect("a power of two"));
    let [full, free] = [0, 1].map(|index| session_on(&testing::router(), user(index), 1 << 20));
    for session in [&full, &free] {
        live(&mut board, session);
        frames(session);
    }
    let mut owners = Owners::default();
    let participants = vec![user(0), user(1)];
    owners.commit(
        &conversation(0),
        EventKind::Created {
            by: user(0),
            title: None,
            participants,
        },
    );
    owners.say(&conversation(0), &user(1));
    let event = Arc::clone(&owners.histories[&conversation(0)][1]);
    testing::router_of(&full).fill();
    board.push(Push::Event {
        epoch: Epoch(1),
        event,
    });
    assert_eq!((frames(&full).len(), frames(&free).len()), (0, 1));
    assert!(
        board.take_work().fetches.is_empty(),
        "what is fetched would find no room either"
    );

    testing::router_of(&full).empty();
    assert!(
        full.router.has_room_again() && !full.router.has_room_again(),
        "told once"
    );
    board.has_room(full.id);
    let fetch = board.take_work().fetches.remove(0);
    let answers = fetch.asks.iter().map(|of| owners.subscribe(of)).collect();
    board.fetched(&fetch, answers);
    let seqs: Vec<_> = frames(&full)
        .into_iter()
        .map(|frame| frame["seq"].clone())
        .collect();
    assert_eq!(seqs, [2]);
}

#[test]
fn ten_thousand_members_share_one_encoded_frame() {
    let mut board = Board::new(ShardMap::new(16).expect("a power of two"));
    let routers = [testing::router(), testing::router()];
    let sessions: Vec<_> = (0..10_000_usize)
        .map(|index| {
            let user = UserId::parse(&format!("member{index}")).expect("a name");
            let session = session_on(&routers[index % 2], user, 1 << 20);
            live(&mut board, &session);
            session
        })
        .collect();
    let mut owners = Owners::default();
    owners.commit(
        &conversation(0),
        EventKind::Created {
            by: user(0),
            title: None,
            participants: vec![user(0)],
        },
    );
    owners.say(&conversation(0), &user(0));
    let event = Arc::clone(&owners.histories[&conversation(0)][1]);
    let before = sessions[..2]
        .iter()
        .map(|session| testing::router_of(session).delivers())
        .collect::<Vec<_>>();
    board.push(Push::Event {
        epoch: Epoch(1),
        event,
    });
    for (session, delivered) in sessions.iter().zip(before) {
        assert_eq!(
            testing::router_of(session).delivers() - delivered,
            1,
            "it goes over each link once"
        );
    }
    for session in sessions {
        let seqs: Vec<_> = frames(&session)
            .into_iter()
            .filter(|frame| frame["t"] == "message")
            .collect();
        assert_eq!(seqs.len(), 1);
        assert_eq!(seqs[0]["seq"], 2);
    }
}
