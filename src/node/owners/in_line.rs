//! Requests whose order matters: each is sent, and sent again, when its turn in its line has come.

use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout_at;

use crate::ids::ShardId;
use crate::node::link::frame::{Body, Outcome};
use crate::node::owners::Owners;
use crate::node::owners::attempt::{BACKOFF, judge, outcome_unknown, repeatable, unavailable};
use crate::node::owners::line::{Key, Place};
use crate::node::owners::route::Missed;
use crate::problem::Problem;

impl Owners {
    /// Asks the owner of a shard until it answers or the budget ends, in the order of the line.
    /// Unless something before it in the line was missed, the first attempt is enqueued before this
    /// returns.
    ///
    /// To be polled: what is out and is never asked for holds up the repeats of what went before
    /// it, until their deadlines.
    pub(super) fn ask_in_line(
        &self,
        key: Key,
        shard: ShardId,
        body: Body,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Outcome, Problem>> {
        let Some(place) = Place::take(&self.inner.lines, key) else {
            return std::future::ready(Err(unavailable())).boxed();
        };
        let mut version = self.table().version;
        let mut turn = self.take_turn(&place, (shard, &body), deadline);
        let owners = self.clone();

        let asked = async move {
            let (mut pauses, mut in_doubt) = (BACKOFF.pauses(), false);
            loop {
                let attempt = match turn {
                    Turn::Sent(attempt) => Some(attempt),
                    Turn::Later => owners.await_turn(&place, (shard, &body), deadline).await,
                    Turn::Overtaken => None,
                };
                let Some(attempt) = attempt else {
                    return Err(judge(&body, unavailable(), in_doubt));
                };
                match attempt.await {
                    Ok(outcome) => {
                        place.settle(true);
                        return Ok(outcome);
                    }
                    Err(Missed::Refused(problem)) => return Err(judge(&body, problem, in_doubt)),
                    Err(Missed::NotServed) => {}
                    Err(Missed::Lost) if !repeatable(&body) => return Err(outcome_unknown()),
                    Err(Missed::Lost) => in_doubt = true,
                }
                place.settle(false);
                if !owners.pause(&mut pauses, version, deadline).await {
                    return Err(judge(&body, unavailable(), in_doubt));
                }
                version = owners.table().version;
                turn = owners.take_turn(&place, (shard, &body), deadline);
            }
        };
        asked.boxed()
    }

    /// Sends the request if its turn has come.
    fn take_turn(&self, place: &Place, (shard, body): (ShardId, &Body), deadline: Instant) -> Turn {
        let number = place.number;
        let mut state = place.line.state();
        if state.was_overtaken(number) {
            return Turn::Overtaken;
        }
        if !state.is_turn_of(number) {
            return Turn::Later;
        }

        let route = self.route(shard);
        let behind = if state.out.is_empty() {
            None
        } else {
            state.way.clone()
        };
        let connection = match behind {
            // Two ways keep no order between them.
            Some((before, _)) if before != route => return Turn::Later,
            Some((_, connection)) => Some(connection),
            None => None,
        };

        // Under the lock: the order of the line is that of the queue.
        let Some((connection, attempt)) = self.send_over(&route, connection, body, deadline) else {
            return Turn::Later;
        };

        state.way = Some((route, connection));
        state.waiting.remove(&number);
        state.out.insert(number);
        drop(state);
        // It may be the turn of the next one now.
        place.line.changed.notify_waiters();
        Turn::Sent(attempt)
    }

    /// `None` when it can or may not be sent before its deadline.
    async fn await_turn(
        &self,
        place: &Place,
        asked: (ShardId, &Body),
        deadline: Instant,
    ) -> Option<Attempt> {
        loop {
            // Made before the look, so that no change between the two is missed.
            let changed = place.line.changed.notified();
            match self.take_turn(place, asked, deadline) {
                Turn::Sent(attempt) => return Some(attempt),
                Turn::Overtaken => return None,
                Turn::Later => {}
            }
            tokio::select! {
                () = self.inner.stop.cancelled() => return None,
                waited = timeout_at(deadline.into(), changed) => waited.ok()?,
            }
        }
    }
}

/// What can be done for a request now.
enum Turn {
    /// It is out.
    Sent(Attempt),
    /// Others go first.
    Later,
    /// A later one was served: this one may not be sent any more.
    Overtaken,
}

/// An attempt that is out.
type Attempt = BoxFuture<'static, Result<Outcome, Missed>>;
