//! How requests are answered: each is decided in its cycle, and told once it is known how that
//! ended.

use tokio::sync::oneshot;

use super::cycle::{Cycle, State};
use super::failure::Failure;
use super::request::{Request, Trim};
use crate::log::{AppendOutcome, LogError};

/// How a cycle ended.
pub(super) type End = Result<(), Failure>;

/// Answers one request, once it is known how the cycle ended.
pub(super) type Settle = Box<dyn FnOnce(&End) + Send>;

/// Answers requests of which nothing is known.
pub(super) fn refuse(requests: Vec<Request>, end: &End) {
    let nothing = State::default();
    let mut cycle = Cycle::new(&nothing);
    let settles = requests
        .into_iter()
        .filter_map(|request| decide(&mut cycle, request));
    settles.for_each(|settle| settle(end));
}

/// Decides one request. What comes back answers it, if anybody asked.
pub(super) fn decide(cycle: &mut Cycle<'_>, request: Request) -> Option<Settle> {
    Some(match request {
        Request::Append { batches, answer } => {
            let outcomes: Vec<AppendOutcome> =
                batches.iter().map(|batch| cycle.append(batch)).collect();
            Box::new(move |end| {
                let one = |outcome| end.as_ref().map(|()| outcome).map_err(Failure::of_append);
                drop(answer.send(outcomes.into_iter().map(one).collect()));
            })
        }
        Request::Claim { claim, answer } => settle(answer, cycle.claim(&claim)),
        Request::Renew { holds, answer } => settle(
            answer,
            holds
                .into_iter()
                .map(|(shard, token)| cycle.renew(shard, token))
                .collect(),
        ),
        Request::Swap {
            name,
            expected,
            body,
            answer,
        } => settle(answer, cycle.swap(&name, expected, &body)),
        Request::Trim {
            target:
                Trim {
                    shard,
                    token,
                    stream,
                    upto,
                },
            answer,
        } => {
            cycle.trim(shard, token, stream, upto);
            settle(answer, ())
        }
        Request::Sweep | Request::Close => return None,
    })
}

fn settle<T: Send + 'static>(answer: oneshot::Sender<Result<T, LogError>>, outcome: T) -> Settle {
    Box::new(move |end| {
        drop(answer.send(end.as_ref().map(|()| outcome).map_err(Failure::of_other)))
    })
}
