//! Sends messages, each when it is due ([`Pacer`]), and writes down what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::client::failure::{Failure, Fault};
use crate::client::http::Ask;
use crate::load::mix::actions::Actions;
use crate::load::options::LoadOptions;
use crate::load::pacer::{Driven, Pacer};
use crate::load::recorder::Sent;
use crate::load::run::Run;
use crate::load::schedule::Schedule;
use crate::load::text::Stamp;

/// What a sender needs.
pub(crate) struct Sender {
    run: Run,
    pub(crate) pacer: Arc<Pacer>,
    /// Bytes of each text.
    payload: usize,
    /// Whether each send carries an `Idempotency-Key`.
    keys: bool,
    /// Number of the next send.
    pub(crate) number: AtomicU64,
    /// Those who do other things to what is sent.
    pub(crate) actions: Option<Arc<Actions>>,
}

#[derive(Debug, Deserialize)]
struct Accepted {
    /// Empty where there are none.
    #[serde(default)]
    id: String,
    /// 0 where there are none; Rookery's begin with 1, so that an answer that lacks it is found to
    /// be wrong.
    #[serde(default)]
    seq: u64,
}

impl Sender {
    /// Nothing was sent yet.
    pub(crate) fn new(
        run: Run,
        pacer: Pacer,
        options: &LoadOptions,
        actions: Option<Arc<Actions>>,
    ) -> Self {
        Self {
            run,
            pacer: Arc::new(pacer),
            payload: options.payload,
            keys: options.idempotency_keys,
            number: AtomicU64::new(0),
            actions,
        }
    }

    /// Sends by this schedule, which begins `from_us` after the begin of the run. What could not
    /// start `grace` after its end is given up. Returns when the last has started; it may not have
    /// been answered yet.
    pub(crate) async fn drive(
        self: &Arc<Self>,
        from_us: u64,
        schedule: Schedule,
        grace: Duration,
    ) -> Result<Driven, String> {
        let sender = Arc::clone(self);
        let start = move |due_us, permit| {
            let number = sender.number.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(Arc::clone(&sender).send(Stamp { number, due_us }, permit));
        };
        self.pacer.drive((from_us, schedule, grace), start).await
    }

    async fn send(self: Arc<Self>, stamp: Stamp, permit: OwnedSemaphorePermit) {
        let Some((conversation, user)) = self.run.workload.pick(stamp.number) else {
            return;
        };
        let Some(chosen) = self.run.workload.conversations.get(conversation) else {
            return;
        };
        let started_us = self.run.recorder.now_us();
        let posted = self.post(&chosen.name, user, stamp).await;
        let sent = Sent {
            group: chosen.group,
            listeners: chosen.online,
            due_us: stamp.due_us,
            started_us,
            answered_us: self.run.recorder.now_us(),
        };

        match posted {
            Ok(accepted) => {
                self.run
                    .ledger
                    .accepted(conversation, accepted.seq, stamp.number);
                self.run.recorder.answered(sent, None);
                if let Some(actions) = &self.actions {
                    actions.sent((conversation, user), (accepted.id, accepted.seq), stamp);
                }
            }
            Err(failure) => {
                self.run.ledger.failed(conversation, stamp.number, &failure);
                self.run.recorder.answered(sent, Some(&failure));
            }
        }
        drop(permit);
    }

    /// Posts one message.
    async fn post(
        &self,
        conversation: &str,
        user: usize,
        stamp: Stamp,
    ) -> Result<Accepted, Failure> {
        let path = format!("/v1/conversations/{conversation}/messages");
        let key = self
            .keys
            .then(|| format!("{conversation}-{}", stamp.number));
        let ask = |token| Ask {
            key,
            ..Ask::post(path, token, stamp.body(self.payload))
        };

        let answer = self.run.succeed(user, ask).await?;
        serde_json::from_slice(&answer)
            .map_err(|error| Failure::transport(Fault::Broken, error.to_string()))
    }
}
