//! Whether the indexes of a shard's users lack nothing: all other shards' owners, asked whether
//! everything they acknowledged has arrived there.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::ids::ShardId;
use crate::node::link::frame::{Body, Outcome};
use crate::node::owners::Owners;
use crate::problem::Problem;
use crate::telemetry;

impl Owners {
    /// Whether `to` has every change of its users' indexes that was acknowledged before the call:
    /// each shard's owner says so, and proves that it is the owner. One request to each owning
    /// node, side by side, and again for shards that move meanwhile. False when one of them cannot
    /// say so by the deadline.
    pub(crate) async fn outboxes_clear(&self, to: ShardId, deadline: Instant) -> bool {
        let items = self.map().all().map(|from| (from, to)).collect();
        let requests = AtomicU32::new(0);
        let answers = self.asked_outboxes(items, &requests, deadline).await;
        let result = result_of(&answers);
        telemetry::LIST_PROOFS.add(1, &[("result", result)]);
        telemetry::LIST_PROOF_REQUESTS.record(f64::from(requests.into_inner()), &[]);
        result == PROVEN
    }

    /// Of each way, from a conversations' shard to a users' shard, whether everything that was
    /// acknowledged there before the call has arrived. False where its owner cannot say so by the
    /// deadline.
    pub(in crate::node) async fn outboxes_delivered(
        &self,
        ways: Vec<(ShardId, ShardId)>,
        deadline: Instant,
    ) -> Vec<bool> {
        let answers = self
            .asked_outboxes(ways, &AtomicU32::new(0), deadline)
            .await;
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or(false))
            .collect()
    }

    async fn asked_outboxes(
        &self,
        ways: Vec<(ShardId, ShardId)>,
        requests: &AtomicU32,
        deadline: Instant,
    ) -> Vec<Result<bool, Problem>> {
        let build = |parts| {
            requests.fetch_add(1, Ordering::Relaxed);
            Body::Outboxes { parts }
        };
        let unpack = |outcome| match outcome {
            Outcome::Outboxes(parts) => Some(parts),
            _ => None,
        };
        self.in_rounds(ways, deadline, build, unpack).await
    }
}

/// The result of a proof, as metrics name it.
const PROVEN: &str = "proven";

fn result_of(answers: &[Result<bool, Problem>]) -> &'static str {
    let any = |which: &Result<bool, ()>| {
        answers
            .iter()
            .any(|answer| answer.as_ref().copied().map_err(|_problem| ()) == *which)
    };
    match (any(&Ok(false)), any(&Err(()))) {
        (true, _) => "pending",
        (false, true) => "unanswered",
        (false, false) => PROVEN,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use crate::link::Config;
    use crate::node::owners::testing::{Fake, Pair, SHARDS, soon};
    use crate::shard::command::ShardError;

    use super::*;

    /// Answers for each shard by a function of it.
    fn saying(
        clear: impl Fn(ShardId) -> Result<bool, ShardError> + Send + Sync + 'static,
    ) -> Arc<Fake> {
        Fake::new(move |body| {
            let Body::Outboxes { parts } = body else {
                return Err(ShardError::NotOwner);
            };
            let one = |(from, to): &(ShardId, Vec<ShardId>)| {
                clear(*from).map(|clear| vec![clear; to.len()])
            };
            Ok(Outcome::Outboxes(parts.iter().map(one).collect()))
        })
    }

    #[tokio::test]
    async fn every_shard_is_asked_about_in_one_request_to_its_owner() {
        let fake = saying(|_| Ok(true));
        let pair = Pair::new(&fake, Config::default()).await;
        assert!(pair.owners.outboxes_clear(ShardId(5), soon()).await);
        let asked = fake.bodies();
        let [Body::Outboxes { parts }] = asked.as_slice() else {
            panic!("{asked:?}")
        };
        let mut from: Vec<_> = parts.iter().map(|(from, _)| u32::from(from.0)).collect();
        from.sort_unstable();
        assert_eq!(from, (0..SHARDS).collect::<Vec<_>>());
        assert!(parts.iter().all(|(_, to)| to.as_slice() == [ShardId(5)]));
    }

    #[tokio::test]
    async fn one_shard_that_may_hold_something_is_enough_for_a_no() {
        let fake = saying(|from| Ok(from != ShardId(9)));
        let pair = Pair::new(&fake, Config::default()).await;
        assert!(!pair.owners.outboxes_clear(ShardId(5), soon()).await);
        assert_eq!(
            fake.bodies().len(),
            1,
            "that is an answer: nobody is asked again"
        );
    }

    #[tokio::test]
    async fn a_shard_without_an_owner_is_a_no_at_the_deadline() {
        let fake = saying(|from| {
            if from == ShardId(9) {
                Err(ShardError::NotOwner)
            } else {
                Ok(true)
            }
        });
        let pair = Pair::new(&fake, Config::default()).await;
        assert!(
            !pair
                .owners
                .outboxes_clear(ShardId(5), Instant::now() + Duration::from_millis(300))
                .await
        );
    }

    #[test]
    fn a_list_is_proven_by_all_owners_and_otherwise_it_is_told_why_it_is_not() {
        let silent = || Err(Problem::unavailable("no answer"));
        assert_eq!(result_of(&[]), PROVEN);
        assert_eq!(result_of(&[Ok(true), Ok(true)]), PROVEN);
        assert_eq!(result_of(&[Ok(true), silent()]), "unanswered");
        assert_eq!(result_of(&[silent(), Ok(false), Ok(true)]), "pending");
    }

    #[tokio::test]
    async fn a_shard_that_moves_is_asked_about_again_and_no_other_is() {
        let moved = AtomicBool::new(false);
        let fake = saying(move |from| {
            let moves = from == ShardId(9) && !moved.swap(true, Ordering::SeqCst);
            if moves {
                Err(ShardError::NotOwner)
            } else {
                Ok(true)
            }
        });
        let pair = Pair::new(&fake, Config::default()).await;
        assert!(pair.owners.outboxes_clear(ShardId(5), soon()).await);

        let asked = fake.bodies();
        let [_, Body::Outboxes { parts }] = asked.as_slice() else {
            panic!("{asked:?}")
        };
        assert_eq!(*parts, [(ShardId(9), vec![ShardId(5)])]);
    }

    #[tokio::test]
    async fn a_node_that_does_not_know_the_question_yet_proves_nothing() {
        let fake = saying(|_| Ok(true));
        let old = Config {
            newest: 2,
            ..Config::default()
        };
        let pair = Pair::of(&fake, (Config::default(), old)).await;
        assert!(
            !pair
                .owners
                .outboxes_clear(ShardId(5), Instant::now() + Duration::from_millis(500))
                .await
        );
        assert!(fake.bodies().is_empty());
    }
}
