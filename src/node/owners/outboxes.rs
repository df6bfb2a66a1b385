//! Whether the indexes of a shard's users lack nothing: all other shards' owners, asked whether everything they
//! acknowledged has arrived there.

use std::time::Instant;

use crate::ids::ShardId;
use crate::node::link::frame::{Body, Outcome};
use crate::node::owners::Owners;
use crate::planted::{self, Protection};

impl Owners {
    /// Whether `to` has every change of its users' indexes that was acknowledged before the call: each shard's owner says
    /// so, and proves that it is the owner. One request to each owning node, side by side, and again for shards that move
    /// meanwhile. False when one of them cannot say so by the deadline.
    pub async fn outboxes_clear(&self, to: ShardId, deadline: Instant) -> bool {
        if planted::is_dropped(Protection::ListProves) {
            return true;
        }
        let items = self.map().all().map(|from| (from, to)).collect();
        let build = |parts| Body::Outboxes { parts };
        let unpack = |outcome| match outcome {
            Outcome::Outboxes(parts) => Some(parts),
            _ => None,
        };
        let answers = self.in_rounds(items, deadline, build, unpack).await;
        answers.into_iter().all(|answer| answer.unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use crate::node::link::Config;
    use crate::node::owners::testing::{Fake, Pair, SHARDS, soon};
    use crate::shard::command::ShardError;

    use super::*;

    /// Answers for each shard by a function of it.
    fn saying(clear: impl Fn(ShardId) -> Result<bool, ShardError> + Send + Sync + 'static) -> Arc<Fake> {
        Fake::new(move |body| {
            let Body::Outboxes { parts } = body else { return Err(ShardError::NotOwner) };
            let one = |(from, to): &(ShardId, Vec<ShardId>)| clear(*from).map(|clear| vec![clear; to.len()]);
            Ok(Outcome::Outboxes(parts.iter().map(one).collect()))
        })
    }

    #[tokio::test]
    async fn every_shard_is_asked_about_in_one_request_to_its_owner() {
        let fake = saying(|_| Ok(true));
        let pair = Pair::new(&fake, Config::default()).await;
        assert!(pair.owners.outboxes_clear(ShardId(5), soon()).await);
        let asked = fake.bodies();
        let [Body::Outboxes { parts }] = asked.as_slice() else { panic!("{asked:?}") };
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
        assert_eq!(fake.bodies().len(), 1, "that is an answer: nobody is asked again");
    }

    #[tokio::test]
    async fn a_shard_without_an_owner_is_a_no_at_the_deadline() {
        let fake = saying(|from| if from == ShardId(9) { Err(ShardError::NotOwner) } else { Ok(true) });
        let pair = Pair::new(&fake, Config::default()).await;
        assert!(!pair.owners.outboxes_clear(ShardId(5), Instant::now() + Duration::from_millis(300)).await);
    }

    #[tokio::test]
    async fn a_shard_that_moves_is_asked_about_again_and_no_other_is() {
        let moved = AtomicBool::new(false);
        let fake = saying(move |from| {
            let moves = from == ShardId(9) && !moved.swap(true, Ordering::SeqCst);
            if moves { Err(ShardError::NotOwner) } else { Ok(true) }
        });
        let pair = Pair::new(&fake, Config::default()).await;
        assert!(pair.owners.outboxes_clear(ShardId(5), soon()).await);
        let asked = fake.bodies();
        let [_, Body::Outboxes { parts }] = asked.as_slice() else { panic!("{asked:?}") };
        assert_eq!(*parts, [(ShardId(9), vec![ShardId(5)])]);
    }

    #[tokio::test]
    async fn a_node_that_does_not_know_the_question_yet_proves_nothing() {
        let fake = saying(|_| Ok(true));
        let old = Config { newest: 2, ..Config::default() };
        let pair = Pair::of(&fake, (Config::default(), old)).await;
        assert!(!pair.owners.outboxes_clear(ShardId(5), Instant::now() + Duration::from_millis(500)).await);
        assert!(fake.bodies().is_empty());
    }
}
