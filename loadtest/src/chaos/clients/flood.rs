//! Very many sockets that only listen, to be dropped all at once: each resumes, and sees each
//! change once, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::chaos::clients::World;
use crate::chaos::clients::http::Call;
use crate::chaos::clients::person::Person;
use crate::chaos::history::item::user_name;
use crate::chaos::wire::{Socket, open, token};

/// Users of these sockets, each with many.
const USERS: u32 = 100;
/// The first of them.
const FIRST: u32 = 900_000;
/// The conversation that all of them are in; none of the load's.
const NAME: &str = "flood";
/// For all of them to be caught up.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(120);

/// What they are to do: a higher number drops them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Stay(u64),
    End,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Flood {
    world: Arc<World>,
    count: u64,
    order: watch::Sender<Order>,
    positions: Arc<Vec<AtomicU64>>,
    sockets: JoinSet<()>,
}

impl Flood {
    /// Makes the conversation and opens so many sockets.
    pub(crate) async fn open(world: &Arc<World>, count: u64) -> Result<Self, String> {
        let names: Vec<String> = (FIRST..FIRST + USERS).map(user_name).collect();
        let mut person = Person::new(world, FIRST);
        let write = Call::write(
            Method::POST,
            "/v1/conversations",
            Some(json!({"participants": names, "name": NAME})),
        );

        let made = person
            .call(write.key("flood"))
            .await
            .map_err(|error| format!("{error:?}"))?;
        if !matches!(made.status, 200 | 201) {
            return Err(format!("the conversation of all sockets: {}", made.body));
        }
        let order = watch::Sender::new(Order::Stay(0));
        let positions: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(1)).collect();
        let positions = Arc::new(positions);
        let mut sockets = JoinSet::new();

        for number in 0..count {
            let user = FIRST + u32::try_from(number).unwrap_or(0) % USERS;
            sockets.spawn(listen(
                Arc::clone(world),
                (user, number),
                order.subscribe(),
                Arc::clone(&positions),
            ));
            if number % 50 == 49 {
                // A burst that a listen queue takes.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }

        let flood = Self {
            world: Arc::clone(world),
            count,
            order,
            positions,
            sockets,
        };
        flood.caught_up("opened").await;
        Ok(flood)
    }

    /// Drops all of them, and waits until they are back and have seen what was said meanwhile.
    pub(crate) async fn drop_all(&self) {
        self.order.send_modify(|order| {
            if let Order::Stay(times) = order {
                *times += 1;
            }
        });
        self.caught_up("dropped").await;
    }

    /// Says something, and waits until all have it.
    async fn caught_up(&self, when: &str) {
        let end = Instant::now() + CAUGHT_UP_WITHIN;
        let Some(goal) = self.say(end).await else {
            self.world.log.wrong(
                "everything is served again",
                None,
                "nothing can be sent to all sockets".to_owned(),
            );
            return;
        };

        loop {
            let behind = self
                .positions
                .iter()
                .filter(|at| at.load(Ordering::Relaxed) < goal)
                .count();
            if behind == 0 {
                return;
            }
            if Instant::now() > end {
                let said = format!(
                    "{behind} of {} sockets, {when}, do not get to seq {goal}",
                    self.count
                );
                self.world
                    .log
                    .wrong("every session gets to the end", None, said);
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn say(&self, end: Instant) -> Option<u64> {
        let mut person = Person::new(&self.world, FIRST);
        let path = format!("/v1/conversations/{NAME}/messages");
        while Instant::now() < end {
            let write = Call::write(Method::POST, &path, Some(json!({"text": "to all"})));
            if let Ok(answer) = person.call(write).await
                && let Some(seq) = answer.body.get("seq").and_then(Value::as_u64)
            {
                return Some(seq);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        None
    }

    /// Ends them.
    pub(crate) async fn close(mut self) {
        self.order.send_replace(Order::End);
        while self.sockets.join_next().await.is_some() {}
    }
}

async fn listen(
    world: Arc<World>,
    (user, number): (u32, u64),
    mut order: watch::Receiver<Order>,
    positions: Arc<Vec<AtomicU64>>,
) {
    let Some(position) = usize::try_from(number)
        .ok()
        .and_then(|number| positions.get(number))
    else {
        return;
    };
    let token = token(&world.secret, &user_name(user)).unwrap_or_default();
    let mut random = world.random.split("flood", number);

    while *order.borrow_and_update() != Order::End {
        let at = random.pick(&world.routers).cloned().unwrap_or_default();
        if let Ok(Ok(socket)) = timeout(
            Duration::from_secs(10),
            open(&at, &token, "/v1/ws?resume=wait"),
        )
        .await
        {
            tokio::select! {
                said = follow(socket, position) => if let Err(said) = said {
                    world.log.wrong("sessions see each change once, in order", None, format!("socket {number}: {said}"));
                },
                _ = order.changed() => {}
            }
        }
        let pause = random.between(10, 1_000);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Until the socket ends; an error is a change that is not the next.
async fn follow(mut socket: Socket, position: &AtomicU64) -> Result<(), String> {
    let resume = json!({"t": "resume", "positions": {NAME: position.load(Ordering::Relaxed)}});
    if socket
        .send(Message::text(resume.to_string()))
        .await
        .is_err()
    {
        return Ok(());
    }

    while let Some(Ok(taken)) = socket.next().await {
        let Ok(text) = taken.to_text() else { continue };
        let Ok(frame) = serde_json::from_str::<Value>(text) else {
            continue;
        };
        let change = matches!(
            frame.get("t").and_then(Value::as_str),
            Some("message" | "event")
        );
        if !change || frame.get("conversation").and_then(Value::as_str) != Some(NAME) {
            continue;
        }
        let seq = frame.get("seq").and_then(Value::as_u64).unwrap_or(0);
        let before = position.swap(seq, Ordering::Relaxed);
        if seq != before + 1 {
            return Err(format!("seq {seq} after {before}"));
        }
    }

    Ok(())
}
