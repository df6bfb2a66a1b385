//! A slow check of every standby of this node against the owner of its shard: files that stand at
//! the same tails have the same digest, or one of them is damaged. Of the two it is the standby
//! that is put aside: the owner's is what clients see, and an operator compares it with a third.

use std::time::{Duration, Instant};

use crate::ids::ShardId;
use crate::node::link::replica::{ReplicaAnswer, ReplicaAsk};
use crate::node::owners::Owners;
use crate::shard::Standby;
use crate::shard::replicas::{Following, ReplicaDigest};
use crate::telemetry::REPLICAS_VERIFIED;

/// Longest wait for the owner's digest, which reads a whole file.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Attempts to find both at the same tails; under load they seldom are, and then it is for the next
/// round.
const ATTEMPTS_MAX: u32 = 5;

/// Pause between them.
const PAUSE: Duration = Duration::from_millis(300);

/// What the comparison of two digests says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Same tails, same content.
    Equal,
    /// Same tails, other content.
    Differs,
    /// Not at the same tails: nothing.
    Apart,
}

fn compare(own: &ReplicaDigest, owners: &ReplicaDigest) -> Verdict {
    match (own.applied == owners.applied, own.sha256 == owners.sha256) {
        (false, _) => Verdict::Apart,
        (true, true) => Verdict::Equal,
        (true, false) => Verdict::Differs,
    }
}

/// Looks at each standby once in `every`, one after the other, for ever.
pub(in crate::node) async fn run(owners: Owners, every: Duration) {
    loop {
        let standbys = owners.standbys();
        // Spread over the round, so that no two nodes read all their files at once.
        let share = every / u32::try_from(standbys.len()).unwrap_or(u32::MAX).max(1);
        if standbys.is_empty() {
            tokio::time::sleep(share.mul_f64(rand::random_range(0.5..=1.0))).await;
        }
        for standby in standbys {
            tokio::time::sleep(share.mul_f64(rand::random_range(0.5..=1.0))).await;
            verify(&owners, &standby).await;
        }
    }
}

/// Compares one standby with its owner, and puts it aside when it differs.
async fn verify(owners: &Owners, standby: &Standby) {
    let shard = standby.status().shard;
    let mut last = Verdict::Apart;
    for _ in 0..ATTEMPTS_MAX {
        if standby.status().following != Following::Live {
            return;
        }
        let Some((own, theirs)) = digests(owners, (shard, standby)).await else {
            return;
        };
        last = compare(&own, &theirs);
        if last != Verdict::Apart {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }

    let result = match last {
        Verdict::Equal => "equal",
        Verdict::Apart => "apart",
        Verdict::Differs => {
            // Told as an error when its file is put aside.
            tracing::warn!(%shard, "a standby differs from the owner at the same offsets");
            standby.condemn("its digest differs from the owner's at the same offsets");
            "differs"
        }
    };
    REPLICAS_VERIFIED.add(1, &[("result", result)]);
}

/// The standby's digest and the owner's, made one right after the other.
async fn digests(
    owners: &Owners,
    (shard, standby): (ShardId, &Standby),
) -> Option<(ReplicaDigest, ReplicaDigest)> {
    let table = owners.table();
    let owner = table.owner(shard).filter(|owner| *owner != owners.node())?;
    let own = standby
        .digest()
        .await
        .map_err(|error| tracing::warn!(%shard, %error, "no digest of a standby"))
        .ok()?;
    match owners
        .ask_replica(
            owner,
            shard,
            ReplicaAsk::Digest,
            Instant::now() + ANSWER_MAX,
        )
        .await?
    {
        ReplicaAnswer::Digest(theirs) => Some((own, theirs)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Offset;
    use crate::log::PerStream;
    use crate::log::record::Tail;

    #[test]
    fn only_digests_at_the_same_tails_say_anything() {
        let digest = |offset, chain: u8, byte| {
            let tail = Tail {
                offset: Offset(offset),
                chain: crate::log::record::Chain([chain; 16]),
            };
            ReplicaDigest {
                applied: PerStream::both(tail),
                sha256: [byte; 32],
            }
        };

        assert_eq!(compare(&digest(5, 1, 7), &digest(5, 1, 7)), Verdict::Equal);
        assert_eq!(
            compare(&digest(5, 1, 7), &digest(5, 1, 8)),
            Verdict::Differs
        );
        assert_eq!(compare(&digest(5, 1, 7), &digest(6, 1, 8)), Verdict::Apart);
        assert_eq!(
            compare(&digest(5, 1, 7), &digest(5, 2, 8)),
            Verdict::Apart,
            "another history is for the worker to find"
        );
    }
}
