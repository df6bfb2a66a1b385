//! Does what people do beside sending, each thing when it is due. Who does it, where, and to what
//! is chance, the same for the same seed as far as the answers allow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::client::failure::Failure;
use crate::client::http::Ask;
use crate::load::mix::counts::{Counts, Outcome};
use crate::load::mix::recent::{Message, Recent};
use crate::load::mix::scenario::{Kind, Mix};
use crate::load::pacer::Pacer;
use crate::load::run::Run;
use crate::load::schedule::Schedule;
use crate::load::text::Stamp;
use crate::load::workload::Conversation;

/// Conversations in one `watch`; the contract's limit.
const WATCHED_MAX: usize = 20;
/// Messages and conversations in one page.
const PAGE: u32 = 20;
/// Seqs before the newest message at which a page of older ones may end.
const BACK_MAX: u64 = 1_000;

/// What all of it needs.
pub(crate) struct Actions {
    run: Run,
    pub(crate) pacer: Arc<Pacer>,
    pub(crate) mix: Mix,
    recent: Recent,
    pub(crate) counts: Counts,
    /// For each user with a socket, what is to be said over it.
    says: Vec<mpsc::Sender<Value>>,
    /// Bytes of each text.
    payload: usize,
    /// Number of the next thing.
    pub(crate) number: AtomicU64,
    /// Seed of all chance.
    seed: u64,
}

/// Where something is done, and by whom.
struct Place<'a> {
    index: usize,
    conversation: &'a Conversation,
    user: usize,
}

impl Actions {
    /// Nothing was done yet.
    pub(crate) fn new(
        (mix, run): (Mix, Run),
        pacer: Pacer,
        says: Vec<mpsc::Sender<Value>>,
        (payload, seed): (usize, u64),
    ) -> Self {
        Self {
            recent: Recent::new(run.workload.conversations.len()),
            counts: Counts::default(),
            pacer: Arc::new(pacer),
            number: AtomicU64::new(0),
            run,
            mix,
            says,
            payload,
            seed,
        }
    }

    /// A message was acknowledged: something can be done to it.
    pub(crate) fn sent(
        &self,
        (conversation, sender): (usize, usize),
        (id, seq): (String, u64),
        stamp: Stamp,
    ) {
        let message = Message {
            id,
            seq,
            number: stamp.number,
            sender,
        };
        self.recent.add(conversation, message);
    }

    /// Does things while messages are sent at this rate, for so long.
    pub(crate) async fn drive(
        self: &Arc<Self>,
        from_us: u64,
        schedule: Schedule,
        grace: Duration,
    ) -> Result<(), String> {
        let actions = Arc::clone(self);
        let start = move |due_us, permit| {
            let number = actions.number.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(Arc::clone(&actions).act(number, due_us, permit));
        };
        self.pacer.drive((from_us, schedule, grace), start).await?;
        Ok(())
    }

    async fn act(self: Arc<Self>, number: u64, due_us: u64, permit: OwnedSemaphorePermit) {
        let seed = self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xac7;
        let mut chance = SmallRng::seed_from_u64(seed);
        let kind = self.mix.pick(&mut chance);
        let done = match self.place(&mut chance) {
            None => Outcome::PassedOver,
            Some(place) => match self.act_at(kind, &place, &mut chance).await {
                Ok(true) => Outcome::Done,
                Ok(false) => Outcome::PassedOver,
                Err(failure) => Outcome::Failed(failure),
            },
        };

        let took_us = self.run.recorder.now_us().saturating_sub(due_us);
        self.counts.add(kind, done, took_us);
        drop(permit);
    }

    /// Some conversation and some member of it.
    fn place(&self, chance: &mut SmallRng) -> Option<Place<'_>> {
        let index = chance.random_range(0..self.run.workload.conversations.len().max(1));
        let conversation = self.run.workload.conversations.get(index)?;
        let user = chance.random_range(0..conversation.members.len().max(1));
        Some(Place {
            index,
            conversation,
            user: *conversation.members.get(user)?,
        })
    }

    /// Does it; false when there was nothing to do it to, or nobody who could.
    async fn act_at(
        &self,
        kind: Kind,
        place: &Place<'_>,
        chance: &mut SmallRng,
    ) -> Result<bool, Failure> {
        let of_conversation = |rest: &str| {
            let path = format!("/v1/conversations/{}/{rest}", place.conversation.name);
            self.get(place.user, path)
        };
        match kind {
            Kind::Edit => self.edit(place, chance).await,
            Kind::Delete => self.delete(place, chance).await,
            Kind::React => self.react(place, chance).await,
            Kind::Read => self.read(place).await,
            Kind::Typing => {
                let name = &place.conversation.name;
                Ok(self.say(
                    place,
                    json!({"t": "typing", "conversation": name, "on": true}),
                ))
            }
            Kind::Watch => Ok(self.say(place, self.watch_of(place.user))),
            Kind::Presence => of_conversation("presence").await,
            Kind::List => {
                let path = format!("/v1/conversations?limit={PAGE}");
                self.get(place.user, path).await
            }
            Kind::Newest => of_conversation(&format!("messages?limit={PAGE}")).await,
            Kind::Older => {
                let Some(newest) = self.recent.newest(place.index) else {
                    return Ok(false);
                };
                let back = chance.random_range(1..=BACK_MAX);
                let before = newest.seq.saturating_sub(back).max(2);
                of_conversation(&format!("messages?limit={PAGE}&before={before}")).await
            }
        }
    }

    async fn edit(&self, place: &Place<'_>, chance: &mut SmallRng) -> Result<bool, Failure> {
        let Some(message) = self.recent.take(place.index, chance) else {
            return Ok(false);
        };
        // Its stamp stays, so that whoever reads the history knows which one it is.
        let stamp = Stamp {
            number: message.number,
            due_us: 0,
        };
        let body = json!({"text": stamp.text(self.payload) + " edited"});
        let path = format!("/v1/messages/{}", message.id);
        let edited = self
            .ask(message.sender, (Method::PATCH, path), Some(&body))
            .await;
        self.recent.add(place.index, message);
        edited
    }

    async fn delete(&self, place: &Place<'_>, chance: &mut SmallRng) -> Result<bool, Failure> {
        let Some(message) = self.recent.take(place.index, chance) else {
            return Ok(false);
        };
        self.run.ledger.deleting(place.index, message.number);
        let path = format!("/v1/messages/{}", message.id);
        let deleted = self
            .ask(message.sender, (Method::DELETE, path), None)
            .await?;
        self.run.ledger.deleted(place.index, message.number);
        Ok(deleted)
    }

    async fn react(&self, place: &Place<'_>, chance: &mut SmallRng) -> Result<bool, Failure> {
        let Some(message) = self.recent.any(place.index, chance) else {
            return Ok(false);
        };
        let body = json!({"reaction": 0x1f600 + chance.random_range(0..8_u32)});
        let path = format!("/v1/messages/{}/reaction", message.id);
        let reacted = self.ask(place.user, (Method::PUT, path), Some(&body)).await;
        match reacted {
            // Its sender was faster: the refusal is what must come.
            Err(failure) if failure.code == "message_deleted" => Ok(true),
            other => other,
        }
    }

    async fn read(&self, place: &Place<'_>) -> Result<bool, Failure> {
        let Some(message) = self.recent.newest(place.index) else {
            return Ok(false);
        };
        let path = format!("/v1/messages/{}/read", message.id);
        self.ask(place.user, (Method::POST, path), None).await
    }

    /// All that a user takes part in, as far as one `watch` may name it.
    fn watch_of(&self, user: usize) -> Value {
        let names: Vec<&str> = self
            .run
            .workload
            .conversations
            .iter()
            .filter(|conversation| conversation.members.contains(&user))
            .map(|conversation| conversation.name.as_str())
            .take(WATCHED_MAX)
            .collect();
        json!({"t": "watch", "conversations": names})
    }

    /// Says it over the user's socket; false when they have none, or it has too much to say.
    fn say(&self, place: &Place<'_>, frame: Value) -> bool {
        let socket = self.says.get(place.user);
        socket.is_some_and(|socket| socket.try_send(frame).is_ok())
    }

    async fn get(&self, user: usize, path: String) -> Result<bool, Failure> {
        self.ask(user, (Method::GET, path), None).await
    }

    async fn ask(
        &self,
        user: usize,
        (method, path): (Method, String),
        body: Option<&Value>,
    ) -> Result<bool, Failure> {
        let ask = |token| Ask {
            method,
            path,
            token,
            body: body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string())),
            key: None,
        };
        self.run.succeed(user, ask).await?;
        Ok(true)
    }
}
