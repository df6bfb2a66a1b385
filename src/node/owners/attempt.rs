//! One request to the owner of one shard: where it goes, and when it is tried again.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{timeout, timeout_at};

use crate::backoff::{Backoff, Pauses};
use crate::ids::{NodeId, ShardId};
use crate::link::Failure;
use crate::node::link::Serve;
use crate::node::link::client::{self, Link};
use crate::node::link::frame::{Answer, Body, Outcome};
use crate::node::owners::Owners;
use crate::node::owners::route::{Missed, Route};
use crate::problem::{Code, Problem, settles_earlier_attempts};
use crate::shard::command::{Command, ShardError};
use crate::telemetry;

/// Pauses before another attempt.
pub(super) const BACKOFF: Backoff =
    Backoff::new(Duration::from_millis(10), Duration::from_millis(250));

/// A local shard answers at its deadline; one that does not is given up this much later.
const GRACE: Duration = Duration::from_millis(100);

/// The end of an interest is told to the owner within this time, or not at all.
const TELL_WITHIN: Duration = Duration::from_secs(5);

impl Owners {
    /// Where a shard is served.
    pub(super) fn route(&self, shard: ShardId) -> Route {
        if self.inner.service.owns(shard) {
            return Route::Here;
        }
        match self.owner_of(shard) {
            Some(node) if node != *self.node() => Route::Node(node),
            _ => Route::Nowhere,
        }
    }

    /// Who owns a shard: the table says so, unless it has just changed hands.
    #[must_use]
    pub(crate) fn owner_of(&self, shard: ShardId) -> Option<NodeId> {
        let table = self.inner.setup.table.borrow();
        let hint = self
            .inner
            .local
            .hints
            .of(shard, &table)
            .filter(|node| table.addresses(node).is_some());
        hint.or_else(|| table.owner(shard).cloned())
    }

    /// A shard is at that node from now on, whatever the table says.
    pub(in crate::node) fn moved(&self, shard: ShardId, to: NodeId) {
        self.inner.local.hints.note(shard, to, &self.table());
    }

    /// Tells what needs no answer.
    pub(super) fn tell(&self, route: &Route, body: Body) {
        let deadline = Instant::now() + TELL_WITHIN;
        if let Some(service) = self.in_process(route) {
            return drop(service.serve(body, deadline, &self.inner.asker));
        }

        match route {
            Route::Node(node) => {
                let links = self
                    .inner
                    .links
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if let Some((link, _)) = links.get(node) {
                    link.tell(&body, deadline);
                }
            }
            Route::Here | Route::Nowhere => {}
        }
    }

    /// What serves a route without a link: this node, or another of this process.
    fn in_process(&self, route: &Route) -> Option<Arc<dyn Serve>> {
        match route {
            Route::Here => Some(Arc::clone(&self.inner.service)),
            Route::Node(node) => self.inner.setup.beside.of(node),
            Route::Nowhere => None,
        }
    }

    /// The link to a node, made when it is first needed.
    fn link(&self, node: &NodeId) -> Link {
        let mut links = self
            .inner
            .links
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let made = links.entry(node.clone()).or_insert_with(|| {
            let places = Arc::clone(&self.inner.places);
            let stop = self.inner.stop.child_token();
            let link = Link::spawn(client::Setup {
                credentials: self.inner.setup.credentials.clone(),
                peer: node.clone(),
                table: self.inner.setup.table.clone(),
                pushes: self.inner.setup.pushes.clone(),
                broken: Box::new(move |peer| places.lost_node(peer)),
                reach: Arc::clone(&self.inner.setup.reach),
                config: self.inner.setup.link.clone(),
                stop: stop.clone(),
            });
            (link, stop)
        });
        made.0.clone()
    }

    /// One attempt. The request is enqueued before this returns; where it subscribes, that stands
    /// in the books first.
    pub(super) fn send(
        &self,
        route: &Route,
        body: &Body,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Outcome, Missed>> {
        self.note_asked(body, route);
        if let Some(service) = self.in_process(route) {
            let served = service.serve(body.clone(), deadline, &self.inner.asker);
            let within = timeout_at((deadline + GRACE).into(), served);
            return within
                .map(|result| {
                    result
                        .map_err(|_elapsed| Missed::Lost)?
                        .map_err(Missed::from)
                })
                .boxed();
        }

        match route {
            Route::Node(node) => {
                let owners = self.clone();
                self.link(node)
                    .call(body, deadline)
                    .map(move |answer| owners.answered(answer))
                    .boxed()
            }
            Route::Here | Route::Nowhere => std::future::ready(Err(Missed::NotServed)).boxed(),
        }
    }

    /// One attempt of a line; see [`Link::call_over`](crate::node::link::client::Link::call_over).
    /// By which connection it goes, which among those of one route tells whether two requests keep
    /// their order. `None`: not sent, since that connection has ended.
    pub(super) fn send_over(
        &self,
        route: &Route,
        connection: Option<u64>,
        body: &Body,
        deadline: Instant,
    ) -> Option<(u64, BoxFuture<'static, Result<Outcome, Missed>>)> {
        match route {
            Route::Node(node) if self.in_process(route).is_none() => {
                let (connection, answer) = self.link(node).call_over(connection, body, deadline)?;
                let owners = self.clone();
                Some((
                    connection,
                    answer.map(move |answer| owners.answered(answer)).boxed(),
                ))
            }
            Route::Here | Route::Node(_) | Route::Nowhere => {
                Some((0, self.send(route, body, deadline)))
            }
        }
    }

    /// Asks the owner of a shard until it answers or the budget ends. The first attempt is enqueued
    /// before this returns.
    pub(super) fn ask(
        &self,
        shard: ShardId,
        body: Body,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Outcome, Problem>> {
        let mut version = self.table().version;
        let mut route = self.route(shard);
        let mut answer = self.send(&route, &body, deadline);
        let owners = self.clone();

        let asked = async move {
            let mut pauses = BACKOFF.pauses();
            let mut in_doubt = false;
            loop {
                match answer.await {
                    Ok(outcome) => {
                        owners.note_answered(&body, &[shard], &route);
                        return Ok(outcome);
                    }
                    Err(Missed::Refused(problem)) => return Err(judge(&body, problem, in_doubt)),
                    Err(Missed::NotServed) => {}
                    Err(Missed::Lost) if !repeatable(&body) => return Err(outcome_unknown()),
                    Err(Missed::Lost) => in_doubt = true,
                }
                if !owners.pause(&mut pauses, version, deadline).await {
                    return Err(judge(&body, unavailable(), in_doubt));
                }
                version = owners.table().version;
                route = owners.route(shard);
                answer = owners.send(&route, &body, deadline);
            }
        };
        asked.boxed()
    }

    /// Waits before another attempt: until the table is another than that of `version`, or for a
    /// moment. False when no time is left or this node ends.
    pub(super) async fn pause(&self, pauses: &mut Pauses, version: u64, deadline: Instant) -> bool {
        let mut table = self.inner.setup.table.clone();
        let wait = pauses
            .next_jittered()
            .min(deadline.saturating_duration_since(Instant::now()));
        let stop = &self.inner.stop;
        // Another, or not in time, or never: each way it is time to try again.
        tokio::select! {
            () = stop.cancelled() => {}
            _ = timeout(wait, table.wait_for(|table| table.version != version)) => {}
        }
        !stop.is_cancelled() && Instant::now() < deadline
    }
}

impl Owners {
    /// Takes in what another node answered, and where it says that shards are now.
    fn answered(&self, answer: Result<Answer, Failure>) -> Result<Outcome, Missed> {
        let result = match &answer {
            Ok(Answer {
                result: Err(ShardError::NotOwner),
                ..
            }) => "redirected",
            Ok(_) => "answered",
            Err(Failure::Lost) => "lost",
            Err(_) => "unsent",
        };
        telemetry::LINK_REQUESTS.add(1, &[("result", result)]);
        let answer = answer?;
        for (shard, to) in answer.moved {
            self.moved(shard, to);
        }
        Ok(answer.result?)
    }
}

/// True when serving the request twice does no more than serving it once.
pub(super) fn repeatable(body: &Body) -> bool {
    match body {
        Body::Execute {
            command: Command::Send(send),
            ..
        } => send.key.is_some(),
        Body::Execute {
            command: Command::Create(create),
            ..
        } => create.key.is_some(),
        Body::Execute {
            command: Command::Edit(edit),
            ..
        } => edit.key.is_some(),
        _ => true,
    }
}

/// What the caller is told. When an earlier attempt may have been served: no refusal that leaves
/// that open.
pub(super) fn judge(body: &Body, problem: Problem, in_doubt: bool) -> Problem {
    let is_write = matches!(body, Body::Execute { .. });
    if in_doubt && is_write && !settles_earlier_attempts(problem.code.status()) {
        outcome_unknown()
    } else {
        problem
    }
}

/// The budget ended, and surely nothing was written.
pub(super) fn unavailable() -> Problem {
    Problem::unavailable("the owner of this shard cannot be reached now; try again")
}

/// The budget ended, and something may have been written.
pub(super) fn outcome_unknown() -> Problem {
    Problem::new(
        Code::OutcomeUnknown,
        "the owner did not answer in time; repeat the request with the same key",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConversationName, IdempotencyKey, UserId};
    use crate::shard::command::{Query, Remove, Send};

    fn bob() -> UserId {
        UserId::parse("bob").expect("a name")
    }

    fn conversation() -> ConversationName {
        ConversationName::parse("c").expect("a name")
    }

    fn writes() -> [Body; 2] {
        let send = Send {
            key: IdempotencyKey::from_client("k"),
            ..Send::plain(conversation(), bob(), "hello")
        };
        let leave = Remove {
            conversation: conversation(),
            by: bob(),
            user: bob(),
        };
        [Command::Send(send), Command::Remove(leave)].map(|command| Body::Execute {
            shard: ShardId(1),
            command,
        })
    }

    #[test]
    fn a_refusal_after_a_lost_attempt_never_claims_that_nothing_was_written() {
        let refusal = |code| Problem::new(code, "x");
        let settled = [
            Code::Invalid,
            Code::InvalidName,
            Code::NameTaken,
            Code::MessageDeleted,
            Code::EditWindowOver,
            Code::TooManyParticipants,
            Code::TooManyBans,
            Code::TooManyConversations,
            Code::IdempotencyConflict,
            Code::TextTooLong,
            Code::TooLarge,
            Code::UnsupportedMediaType,
            Code::MethodNotAllowed,
            Code::UpgradeRequired,
            Code::HeadTooLarge,
        ];

        for (write, code) in writes()
            .iter()
            .flat_map(|write| Code::ALL.map(|code| (write, code)))
        {
            assert_eq!(judge(write, refusal(code), false).code, code);
            let told = judge(write, refusal(code), true).code;
            assert_eq!(
                told,
                if settled.contains(&code) {
                    code
                } else {
                    Code::OutcomeUnknown
                }
            );
        }

        let query = Query::Conversation {
            name: conversation(),
            reader: bob(),
        };
        let read = Body::Query {
            shard: ShardId(1),
            query,
        };

        assert_eq!(
            judge(&read, refusal(Code::Unavailable), true).code,
            Code::Unavailable
        );
        assert_eq!(
            judge(&read, refusal(Code::NotParticipant), true).code,
            Code::NotParticipant
        );
    }
}
