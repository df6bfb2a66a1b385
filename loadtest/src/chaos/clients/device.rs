//! A device of a user: one socket after the other, each resumed from what the one before had seen.
//! It sends bursts, several messages of a conversation under way at once; and what it missed too
//! much of it reads by request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::chaos::clients::person::{Person, is_open, message};
use crate::chaos::clients::{FIRST_GUEST, World, finale};
use crate::chaos::history::item::{
    conversation_name, conversation_number, item, text_of, user_name,
};
use crate::chaos::history::{Act, Outcome, Record, What};
use crate::chaos::random::Random;
use crate::chaos::wire::{Socket, open, token};

/// For the upgrade.
const OPENED_WITHIN: Duration = Duration::from_secs(7);
/// How often a device looks what else there is to do.
const TICK: Duration = Duration::from_millis(200);
/// Messages that a device sends to one conversation at once, at most, and answers that it may wait
/// for in all.
const BURST: u64 = 8;
const UNDER_WAY_MAX: usize = 24;
/// For the answer to a frame.
const ANSWERED_WITHIN: Duration = Duration::from_secs(12);
/// Answers of a socket that are remembered, to find one that comes twice.
const ANSWERED_MAX: usize = 2_000;
/// Without any frame, not even a ping, the socket is given up.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// At the end, to get to the goals.
const GOAL_WITHIN: Duration = Duration::from_secs(90);
/// Positions of one frame.
const POSITIONS_MAX: usize = 500;

/// A device.
pub(crate) struct Device {
    world: Arc<World>,
    user: u32,
    positions: BTreeMap<u32, u64>,
    random: Random,
    /// Messages that were sent by frame: their operations, where, and when.
    pending: BTreeMap<u64, (u32, Instant)>,
    /// What was answered on this socket, the newest of it, and whether it was greeted.
    answered: BTreeSet<u64>,
    greeted: bool,
    /// Conversations of which a part has to be read by request, from there.
    missed: BTreeMap<u32, u64>,
    drops: u64,
    /// Conversations that were there before its sockets were ready, and start at their ends: nobody
    /// tells where that is.
    excused: Arc<Mutex<BTreeSet<u32>>>,
    /// Before that it sends nothing.
    send_after: Instant,
    /// Between two bursts, about.
    pause: Duration,
}

/// Whether the message of an operation has a key of the client's: one of four is sent by frame
/// without, and is under the key that the router stamps.
fn has_key(op: u64) -> bool {
    !op.is_multiple_of(4)
}

/// Why a device turns from its socket.
enum Turn {
    /// It is at its goals.
    Done,
    /// The socket is over.
    Again(String),
}

impl Device {
    /// One that has seen nothing.
    pub(crate) fn new(world: Arc<World>, user: u32) -> Self {
        let random = world.random.split("device", u64::from(user));
        let (positions, missed) = (BTreeMap::new(), BTreeMap::new());
        let pause = world.shape.burst_pause(BURST.div_ceil(2));
        Self {
            world,
            user,
            positions,
            random,
            pending: BTreeMap::new(),
            answered: BTreeSet::new(),
            greeted: false,
            missed,
            drops: 0,
            excused: Arc::default(),
            send_after: Instant::now(),
            pause,
        }
    }

    /// Until it is at its goals.
    pub(crate) async fn run(mut self) {
        let mut end = None;
        loop {
            let goals = self.world.mood.borrow().goals.clone();
            if goals.is_some()
                && Instant::now() > *end.get_or_insert_with(|| Instant::now() + GOAL_WITHIN)
            {
                self.complain();
                return;
            }
            let at = self
                .random
                .pick(&self.world.routers)
                .cloned()
                .unwrap_or_default();
            let token = token(&self.world.secret, &user_name(self.user)).unwrap_or_default();
            let opened = timeout(OPENED_WITHIN, open(&at, &token, "/v1/ws?resume=wait")).await;
            if let Ok(Ok(socket)) = opened {
                let session = self.world.log.open(
                    self.user,
                    self.positions.iter().map(|(c, s)| (*c, *s)).collect(),
                );
                let turn = self.live(socket, session, end).await;
                self.give_away_pending();
                match turn {
                    Turn::Done => return,
                    Turn::Again(why) => {
                        self.world.log.note(&Record::Closed {
                            at: self.world.log.now(),
                            session,
                            why,
                        });
                    }
                }
            }
            let jitter = self.random.between(20, 300);
            tokio::time::sleep(Duration::from_millis(jitter)).await;
        }
    }

    /// One socket.
    async fn live(&mut self, mut socket: Socket, session: u64, end: Option<Instant>) -> Turn {
        if !self.resume(&mut socket).await {
            return Turn::Again("resume was not taken".to_owned());
        }
        self.drops = self.world.mood.borrow().drops;
        (self.answered, self.greeted) = (BTreeSet::new(), false);
        let mut heard = Instant::now();
        let mut deafened = false;
        loop {
            let mood = self.world.mood.borrow().clone();
            if mood.drops != self.drops {
                return Turn::Again("dropped".to_owned());
            }
            if mood.goals.is_some()
                && (self.is_done() || end.is_none() || end.is_some_and(|end| Instant::now() > end))
            {
                return if self.is_done() {
                    Turn::Done
                } else {
                    Turn::Again("the load is over".to_owned())
                };
            }
            if mood.slow && self.user.is_multiple_of(3) {
                if !std::mem::replace(&mut deafened, true) {
                    self.world.log.note(&Record::Deafened {
                        at: self.world.log.now(),
                        session,
                    });
                }
                tokio::time::sleep(TICK).await;
                continue;
            }
            match timeout(TICK, socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => {
                    heard = Instant::now();
                    if let Err(error) = self.take(session, &text) {
                        self.world.log.wrong(
                            "frames are as promised",
                            None,
                            format!("session {session}: {error}"),
                        );
                    }
                }
                Ok(Some(Ok(Message::Close(frame)))) => {
                    return Turn::Again(
                        frame.map_or_else(|| "closed".to_owned(), |frame| frame.code.to_string()),
                    );
                }
                Ok(Some(Ok(_))) => heard = Instant::now(),
                Ok(Some(Err(error))) => return Turn::Again(error.to_string()),
                Ok(None) => return Turn::Again("ended".to_owned()),
                Err(_) if heard.elapsed() > SILENT_MAX => return Turn::Again("silent".to_owned()),
                Err(_) => {}
            }
            if !self.upkeep(&mut socket, session).await {
                return Turn::Again("a frame was not taken".to_owned());
            }
        }
    }

    async fn resume(&mut self, socket: &mut Socket) -> bool {
        let all: Vec<(String, u64)> = self
            .positions
            .iter()
            .map(|(c, s)| (conversation_name(*c), *s))
            .collect();
        let mut parts: Vec<&[(String, u64)]> = all.chunks(POSITIONS_MAX).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        let last = parts.len();
        for (i, part) in parts.into_iter().enumerate() {
            let positions: BTreeMap<&str, u64> = part
                .iter()
                .map(|(name, seq)| (name.as_str(), *seq))
                .collect();
            let frame = json!({"t": "resume", "positions": positions, "more": i + 1 < last});
            if !sent(socket, frame.to_string()).await {
                return false;
            }
        }
        true
    }

    /// One frame.
    fn take(&mut self, session: u64, text: &str) -> Result<(), String> {
        let frame: Value =
            serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
        let field = |name: &str| {
            frame
                .get(name)
                .and_then(Value::as_u64)
                .ok_or_else(|| format!("no {name}: {text}"))
        };
        let conversation = frame
            .get("conversation")
            .and_then(Value::as_str)
            .and_then(conversation_number);
        match (frame.get("t").and_then(Value::as_str), conversation) {
            (Some("message" | "event"), Some(conversation)) => {
                self.change(session, conversation, &frame)
            }
            (Some("gap"), Some(conversation)) => {
                let (from, to) = (field("from")?, field("to")?);
                let reason = frame
                    .get("reason")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned();
                self.gap(session, conversation, (from, to), reason);
                Ok(())
            }
            (Some("ready"), _) => {
                self.world.log.note(&Record::Ready {
                    at: self.world.log.now(),
                    session,
                });
                self.excuse();
                Ok(())
            }
            (Some("live"), _) => self.caught_up(session, &frame),
            (Some("ok" | "error"), _) => self.answered(&frame),
            (Some("hello"), _) if std::mem::replace(&mut self.greeted, true) => {
                Err("a second hello".to_owned())
            }
            // A conversation that is not of the load: the flood's.
            _ => Ok(()),
        }
    }

    fn change(&mut self, session: u64, conversation: u32, frame: &Value) -> Result<(), String> {
        let item = item(frame)?;
        self.positions.insert(conversation, item.seq);
        if matches!(item.what, What::Left { user } if user == self.user) {
            self.positions.remove(&conversation);
        }
        self.world.log.frame(session, conversation, item);
        Ok(())
    }

    fn gap(&mut self, session: u64, conversation: u32, (from, to): (u64, u64), reason: String) {
        match reason.as_str() {
            "not_participant" => drop(self.positions.remove(&conversation)),
            "replaced" => drop(self.positions.insert(conversation, from.saturating_sub(1))),
            _ => {
                self.positions.insert(conversation, to);
                self.missed.insert(conversation, from.saturating_sub(1));
            }
        }
        self.world.log.note(&Record::Gap {
            at: self.world.log.now(),
            session,
            conversation,
            from,
            to,
            reason,
        });
    }

    /// What is in the list now was not named, or is known.
    fn excuse(&self) {
        let (world, user, excused) = (
            Arc::clone(&self.world),
            self.user,
            Arc::clone(&self.excused),
        );
        drop(tokio::spawn(async move {
            let mut person = Person::new(&world, user);
            while !world.gave_up() {
                if let Some(listed) = finale::list(&mut person).await {
                    excused
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(listed);
                    return;
                }
                tokio::time::sleep(TICK).await;
            }
        }));
    }

    fn caught_up(&mut self, session: u64, frame: &Value) -> Result<(), String> {
        let named = frame
            .get("positions")
            .and_then(Value::as_object)
            .ok_or("live without positions")?;
        let position =
            |(name, seq): (&String, &Value)| Some((conversation_number(name)?, seq.as_u64()?));
        let positions: Vec<(u32, u64)> = named.iter().filter_map(position).collect();
        for (conversation, seq) in &positions {
            self.positions.insert(*conversation, *seq);
        }
        self.world.log.note(&Record::Live {
            at: self.world.log.now(),
            session,
            positions,
        });
        Ok(())
    }

    fn answered(&mut self, frame: &Value) -> Result<(), String> {
        let Some(op) = frame.get("ref").and_then(Value::as_u64) else {
            return Ok(());
        };
        if !self.answered.insert(op) {
            return Err(format!("op-{op} is answered twice: {frame}"));
        }
        if self.answered.len() > ANSWERED_MAX {
            self.answered.pop_first();
        }
        let Some((op, (conversation, _))) = self.pending.remove_entry(&op) else {
            return Ok(());
        };
        if let Some(result) = frame.get("result") {
            let item = item(result).ok();
            self.world.log.end(op, Outcome::Ok { item, clean: true });
            return Ok(());
        }
        let problem = frame.get("problem");
        let code = problem
            .and_then(|problem| problem.get("code")?.as_str())
            .unwrap_or_default()
            .to_owned();
        if is_open(&code) {
            self.settle_later(op, conversation);
        } else {
            self.world.log.end(op, Outcome::Failed { code });
        }
        Ok(())
    }

    /// What is to be done beside reading; false when the socket takes nothing.
    async fn upkeep(&mut self, socket: &mut Socket, session: u64) -> bool {
        if self
            .pending
            .values()
            .any(|(_, begun)| begun.elapsed() > ANSWERED_WITHIN)
        {
            self.give_away_pending();
        }
        if let Some((conversation, after)) = self.missed.pop_first() {
            self.read_missed(conversation, after);
        }
        if self.pending.len() >= UNDER_WAY_MAX
            || self.world.is_over()
            || self.user >= FIRST_GUEST
            || Instant::now() < self.send_after
        {
            return true;
        }
        let usual = u64::try_from(self.pause.as_millis()).unwrap_or(u64::MAX);
        self.send_after =
            Instant::now() + Duration::from_millis(self.random.between(usual / 2, usual * 3 / 2));
        let mine: Vec<u32> = self
            .positions
            .keys()
            .copied()
            .filter(|c| *c < self.world.shape.conversations)
            .collect();
        let Some(&conversation) = self.random.pick(&mine) else {
            return true;
        };
        for _ in 0..self.random.between(1, BURST) {
            if !self.send(socket, session, conversation).await {
                return false;
            }
        }
        true
    }

    /// Sends a message by frame and waits for no answer; false when the socket takes nothing.
    async fn send(&mut self, socket: &mut Socket, session: u64, conversation: u32) -> bool {
        let log = &self.world.log;
        let op = log.begin(self.user, conversation, Act::Send);
        log.note(&Record::Framed {
            at: log.now(),
            op,
            session,
        });
        self.pending.insert(op, (conversation, Instant::now()));
        let text = text_of(op, self.world.shape.text_bytes);
        let name = conversation_name(conversation);
        let key = has_key(op).then(|| format!("k-{op}"));
        let frame =
            json!({"t": "send", "ref": op, "conversation": name, "text": text, "client_id": key});
        sent(socket, frame.to_string()).await
    }

    fn give_away_pending(&mut self) {
        for (op, (conversation, _)) in std::mem::take(&mut self.pending) {
            self.settle_later(op, conversation);
        }
    }

    /// The same key by request, until the outcome is sure. What has none is told no more.
    fn settle_later(&self, op: u64, conversation: u32) {
        if !has_key(op) {
            self.world.log.end(
                op,
                Outcome::Unknown {
                    code: "it has no key".to_owned(),
                },
            );
            return;
        }
        let (world, user) = (Arc::clone(&self.world), self.user);
        drop(tokio::spawn(async move {
            let Ok(_place) = world.settling.acquire().await else {
                return;
            };
            let mut person = Person::new(&world, user);
            let outcome = person
                .settle(&world, op, &message(&world, conversation, op), false)
                .await;
            world.log.end(op, outcome);
        }));
    }

    /// What a gap left out, by request.
    fn read_missed(&self, conversation: u32, mut after: u64) {
        let (world, user) = (Arc::clone(&self.world), self.user);
        drop(tokio::spawn(async move {
            let mut person = Person::new(&world, user);
            while let Some((last, false)) =
                person.page(&world, conversation, (after, 200), false).await
            {
                after = last;
            }
        }));
    }

    /// Conversations that it has to be at the end of.
    fn owed(&self) -> Vec<(u32, u64, u64)> {
        let Some(goals) = self.world.mood.borrow().goals.clone() else {
            return Vec::new();
        };
        let is_behind = |(conversation, goal): (&u32, &u64)| {
            let at = self.positions.get(conversation).copied();
            if at.is_none()
                && self
                    .excused
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .contains(conversation)
            {
                return None;
            }
            let at = at.unwrap_or(0);
            let member = || {
                self.world
                    .log
                    .ask(|checker| checker.members(*conversation))
                    .contains(&self.user)
            };
            (at < *goal && member()).then_some((*conversation, at, *goal))
        };
        goals.iter().filter_map(is_behind).collect()
    }

    fn is_done(&self) -> bool {
        self.owed().is_empty()
    }

    fn complain(&self) {
        for (conversation, at, goal) in self.owed() {
            let said = format!(
                "a device of u{} is at seq {at} of c{conversation}, and its end is {goal}",
                self.user
            );
            self.world
                .log
                .wrong("every session gets to the end", Some(conversation), said);
        }
    }
}

async fn sent(socket: &mut Socket, text: String) -> bool {
    matches!(
        timeout(Duration::from_secs(5), socket.send(Message::text(text))).await,
        Ok(Ok(()))
    )
}
