//! A device of a user: one socket after the other, each resumed from what the one before had seen.
//! It sends bursts, several messages of a conversation under way at once; and what it missed too
//! much of it reads by request.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::chaos::clients::goals::Goals;
use crate::chaos::clients::seen::Seen;
use crate::chaos::clients::unanswered::Unanswered;
use crate::chaos::clients::{FIRST_GUEST, World};
use crate::chaos::history::Record;
use crate::chaos::history::item::{conversation_number, user_name};
use crate::chaos::random::Random;
use crate::chaos::wire::{Socket, open, token};

/// For the upgrade.
const OPENED_WITHIN: Duration = Duration::from_secs(7);
/// How often a device looks what else there is to do.
const TICK: Duration = Duration::from_millis(200);
/// Messages that a device sends to one conversation at once, at most.
const BURST: u64 = 8;
/// Without any frame, not even a ping, the socket is given up.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// At the end, to get to the goals.
const GOAL_WITHIN: Duration = Duration::from_secs(90);

/// A device.
pub(crate) struct Device {
    world: Arc<World>,
    user: u32,
    seen: Seen,
    random: Random,
    /// What it sent by frame.
    unanswered: Unanswered,
    /// Whether its socket said hello.
    greeted: bool,
    drops: u64,
    goals: Goals,
    /// Before that it sends nothing.
    send_after: Instant,
    /// Between two bursts, about.
    pause: Duration,
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
        let pause = world.shape.burst_pause(BURST.div_ceil(2));
        let seen = Seen::new(&world, user);
        let (unanswered, goals) = (Unanswered::new(&world, user), Goals::new(&world, user));

        Self {
            world,
            user,
            seen,
            random,
            unanswered,
            greeted: false,
            drops: 0,
            goals,
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
                self.goals.complain(&self.seen.positions);
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
                    self.seen.positions.iter().map(|(c, s)| (*c, *s)).collect(),
                );
                let turn = self.live(socket, session, end).await;
                self.unanswered.give_away();
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
        if !self.seen.resume(&mut socket).await {
            return Turn::Again("resume was not taken".to_owned());
        }
        self.drops = self.world.mood.borrow().drops;
        self.unanswered.on_a_new_socket();
        self.greeted = false;
        let mut heard = Instant::now();
        let mut deafened = false;

        loop {
            let mood = self.world.mood.borrow().clone();
            if mood.drops != self.drops {
                return Turn::Again("dropped".to_owned());
            }
            if mood.goals.is_some()
                && let Some(turn) = self.is_over(end)
            {
                return turn;
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

    /// Whether it turns from its socket once there are goals, and why: it is at them, or knew
    /// nothing of them when it opened this socket, or its time is over.
    fn is_over(&self, end: Option<Instant>) -> Option<Turn> {
        if self.goals.are_reached(&self.seen.positions) {
            return Some(Turn::Done);
        }
        end.is_none_or(|end| Instant::now() > end)
            .then(|| Turn::Again("the load is over".to_owned()))
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
                self.seen.change(session, conversation, &frame)
            }
            (Some("gap"), Some(conversation)) => {
                let (from, to) = (field("from")?, field("to")?);
                let reason = frame
                    .get("reason")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned();
                self.seen.gap(session, conversation, (from, to), reason);
                Ok(())
            }
            (Some("ready"), _) => {
                self.world.log.note(&Record::Ready {
                    at: self.world.log.now(),
                    session,
                });
                self.goals.excuse();
                Ok(())
            }
            (Some("live"), _) => self.seen.caught_up(session, &frame),
            (Some("ok" | "error"), _) => self.unanswered.take(&frame),
            (Some("hello"), _) if std::mem::replace(&mut self.greeted, true) => {
                Err("a second hello".to_owned())
            }
            // A conversation that is not of the load: the flood's.
            _ => Ok(()),
        }
    }

    /// What is to be done beside reading; false when the socket takes nothing.
    async fn upkeep(&mut self, socket: &mut Socket, session: u64) -> bool {
        if self.unanswered.is_late() {
            self.unanswered.give_away();
        }

        self.seen.read_missed();
        if self.unanswered.is_full()
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
            .seen
            .positions
            .keys()
            .copied()
            .filter(|c| *c < self.world.shape.conversations)
            .collect();
        let Some(&conversation) = self.random.pick(&mine) else {
            return true;
        };

        for _ in 0..self.random.between(1, BURST) {
            if !self.unanswered.send(socket, session, conversation).await {
                return false;
            }
        }

        true
    }
}
