//! Failed attempts at a shard: what they mean for the start of the node, what is told of them, how
//! long the next one waits.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::ids::{NodeId, ShardId};
use crate::shard::{Disposition, OpenError};
use crate::telemetry;

/// Pause after the first failed attempt; doubled after each further one.
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// Longest pause between attempts. A failover of Redis takes about as many seconds as a standby
/// waits before it takes the shard over: its owner has to be there right after it.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Pause before a shard that is refused is looked at again, when no other node could take it.
const PAUSE_SLOW: Duration = Duration::from_secs(15);

/// What may pass is told as an error when it has failed so often in a row, which takes some seven
/// seconds: longer than a failover of Redis.
const PERSISTENT: u32 = 10;

/// What a failure means for the start of the node: `None` while it waits for the next attempt.
///
/// `failed` is how many there were, `max` how many there may be. `others`: there are other
/// replicas, so that what this one cannot do is done by another.
pub(super) fn first_outcome(
    why: &OpenError,
    failed: u32,
    max: Option<u32>,
    others: bool,
) -> Option<Result<(), String>> {
    match why.disposition() {
        // The other shards of this node are not made to wait for it.
        Disposition::Elsewhere if max.is_none() => Some(Ok(())),
        Disposition::Reseed(_) if others => Some(Ok(())),
        // It costs itself only: the others are served, and who looks is told.
        Disposition::Refuse | Disposition::Reseed(_) if max.is_none() => Some(Ok(())),
        Disposition::Refuse
        | Disposition::RefuseNode
        | Disposition::Reseed(_)
        | Disposition::Elsewhere => Some(Err(why.to_string())),
        Disposition::Wait => max
            .is_some_and(|max| failed >= max)
            .then(|| Err(why.to_string())),
    }
}

/// Failed attempts in a row.
#[derive(Debug, Default)]
pub(super) struct Tries {
    pub(super) failed: u32,
    last: Option<OpenError>,
}

impl Tries {
    /// Counts a failure; logs it unless it is the same as the one before, and once more when it
    /// persists.
    pub(super) fn failed(&mut self, node: &NodeId, shard: ShardId, why: &OpenError) {
        // Another node's shard is no failure of this one: nobody need look.
        let disposition = why.disposition();
        if disposition == Disposition::Elsewhere {
            self.failed = 0;
        } else {
            self.failed = self.failed.saturating_add(1);
            telemetry::SHARD_OPEN_FAILURES.add(1, &[("node", &node.0)]);
        }

        if self.last.as_ref() != Some(why) || self.failed == PERSISTENT {
            let may_pass = match disposition {
                Disposition::Elsewhere => true,
                Disposition::Wait => self.failed < PERSISTENT,
                Disposition::Refuse | Disposition::RefuseNode | Disposition::Reseed(_) => false,
            };
            if may_pass {
                tracing::warn!(%node, %shard, error = %why, "a shard cannot be opened here now; trying again");
            } else {
                tracing::error!(%node, %shard, error = %why, "a shard cannot be opened; trying again");
            }
            self.last = Some(why.clone());
        }
    }

    /// How long to wait for the next attempt.
    pub(super) fn pause(&self, others: bool) -> Duration {
        match self.last.as_ref().map(OpenError::disposition) {
            // Nothing but what is in the log now can say what comes next.
            Some(Disposition::Elsewhere) => return PAUSE_MIN,
            Some(Disposition::Refuse | Disposition::RefuseNode) => return PAUSE_SLOW,
            Some(Disposition::Reseed(_)) if !others => return PAUSE_SLOW,
            Some(Disposition::Reseed(_) | Disposition::Wait) | None => {}
        }
        Backoff::new(PAUSE_MIN, PAUSE_MAX).after(self.failed.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let mut tries = Tries::default();
        let mut pauses = Vec::new();
        for _ in 0..40 {
            tries.failed(
                &NodeId::from("node-1"),
                ShardId(3),
                &OpenError::Failed("disk full".to_owned()),
            );
            pauses.push(tries.pause(false));
        }

        assert_eq!(pauses[0], PAUSE_MIN);
        assert_eq!(pauses[1], PAUSE_MIN * 2);
        assert!(pauses.iter().all(|pause| *pause <= PAUSE_MAX));
        assert_eq!(pauses.last(), Some(&PAUSE_MAX));

        tries.failed(
            &NodeId::from("node-1"),
            ShardId(3),
            &OpenError::Elsewhere("owned by node-2".to_owned()),
        );

        assert_eq!(tries.pause(false), PAUSE_MIN, "it stands by from now on");
        tries.failed(
            &NodeId::from("node-1"),
            ShardId(3),
            &OpenError::Behind("a hole".to_owned()),
        );

        assert_eq!(
            (tries.pause(false), tries.pause(true)),
            (PAUSE_SLOW, PAUSE_MIN),
            "the first in a row"
        );
    }

    #[test]
    fn what_another_node_owns_is_not_counted_as_a_failure() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let mut tries = Tries::default();
            for why in [
                OpenError::Elsewhere,
                OpenError::Failed,
                OpenError::Elsewhere,
            ] {
                tries.failed(&NodeId::from("node-1"), ShardId(3), &why("why".to_owned()));
            }
        });
        let text = handle.render();
        let counted = "rookery_node_shard_open_failures_total{node=\"node-1\"} 1";
        assert!(text.lines().any(|found| found == counted), "{text}");
    }

    #[test]
    fn a_start_ends_at_what_is_foreign_and_waits_for_what_may_pass_and_a_refused_shard_costs_itself_only()
     {
        let line = || "why".to_owned();
        let outcome = |why: fn(String) -> OpenError, failed, max| {
            first_outcome(&why(line()), failed, max, false)
        };
        for max in [None, Some(3)] {
            assert_eq!(outcome(OpenError::Foreign, 1, max), Some(Err(line())));
        }

        assert_eq!(outcome(OpenError::Failed, 1_000, None), None);
        assert_eq!(
            [2, 3].map(|failed| outcome(OpenError::Failed, failed, Some(3))),
            [None, Some(Err(line()))]
        );
        assert_eq!(
            outcome(OpenError::Elsewhere, 1, None),
            Some(Ok(())),
            "the others are served meanwhile"
        );
        assert_eq!(outcome(OpenError::Elsewhere, 1, Some(3)), Some(Err(line())));

        for unfit in [OpenError::Behind, OpenError::Diverged, OpenError::Damaged] {
            assert_eq!(
                first_outcome(&unfit(line()), 1, Some(3), true),
                Some(Ok(())),
                "another replica has it"
            );
        }

        // In one process a person looks on, and a part of the folder is no folder.
        for lasting in [
            OpenError::Refused,
            OpenError::Behind,
            OpenError::Diverged,
            OpenError::Damaged,
        ] {
            assert_eq!(
                first_outcome(&lasting(line()), 1, None, false),
                Some(Ok(())),
                "the others are served"
            );
            assert_eq!(
                first_outcome(&lasting(line()), 1, Some(3), false),
                Some(Err(line()))
            );
        }
    }
}
