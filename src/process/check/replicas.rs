//! Whether the replicas of each shard hold the same, by their digests. Reads only, one shard after
//! the other.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;

use crate::ids::NodeId;
use crate::operations::{AppliedTail, ClusterShard, ShardDigest};
use crate::output;
use crate::process::cluster::call::Place;
use crate::process::cluster::{first, understood};

/// How often replicas are asked again that stood at different places, because somebody writes
/// meanwhile.
const ATTEMPTS: u32 = 10;

/// Pause before that.
const AGAIN: Duration = Duration::from_millis(250);

/// What became of the comparison of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// All of them hold the same.
    Equal,
    /// Two hold different things at the same place. One sentence.
    Differs(String),
    /// It is not known. One sentence why.
    Unknown(String),
}

/// Compares, and prints what differs. True when all replicas could be compared and hold the same.
pub(super) async fn compare(places: &[Place], shards: &[ClusterShard], pause: Duration) -> bool {
    let (mut equal, mut differ, mut unknown) = (0, 0, 0);
    for shard in shards {
        let mut verdict = one(places, shard).await;
        for _ in 1..ATTEMPTS {
            if !matches!(verdict, Verdict::Unknown(_)) {
                break;
            }
            tokio::time::sleep(AGAIN).await;
            verdict = one(places, shard).await;
        }
        match verdict {
            Verdict::Equal => equal += 1,
            Verdict::Differs(why) => {
                differ += 1;
                output::print(&format!("shard {}: {why}\n", shard.shard));
            }
            Verdict::Unknown(why) => {
                unknown += 1;
                output::print(&format!("shard {}: not compared: {why}\n", shard.shard));
            }
        }
        tokio::time::sleep(pause).await;
    }

    output::print(&format!(
        "{equal} shards have replicas that hold the same, {differ} have not, {unknown} were not \
         compared.\n"
    ));
    differ == 0 && unknown == 0
}

/// Asks all replicas of a shard once.
async fn one(places: &[Place], shard: &ClusterShard) -> Verdict {
    let nodes: Vec<&NodeId> = shard.owner.iter().chain(&shard.standby).collect();
    let mut digests = Vec::new();
    for node in nodes {
        match digest(places, shard.shard, node).await {
            Ok(digest) => digests.push(digest),
            Err(why) => return Verdict::Unknown(why),
        }
    }
    compared(&digests)
}

/// The verdict on some digests.
fn compared(digests: &[ShardDigest]) -> Verdict {
    let places = |digest: &ShardDigest| {
        let at = |tail: &AppliedTail| (tail.offset, tail.chain.clone());
        (at(&digest.applied.messages), at(&digest.applied.receipts))
    };

    let mut by_place: BTreeMap<_, Vec<&ShardDigest>> = BTreeMap::new();
    for digest in digests {
        by_place.entry(places(digest)).or_default().push(digest);
    }

    for same_place in by_place.values() {
        let [first, others @ ..] = &same_place[..] else {
            continue;
        };
        if let Some(other) = others.iter().find(|other| other.digest != first.digest) {
            return Verdict::Differs(format!(
                "{} ({}) and {} ({}) hold different things at the same place (messages {}, receipts {}): one of them is \
                 damaged, and the standby is put aside when it finds that",
                first.node,
                first.role,
                other.node,
                other.role,
                first.applied.messages.offset,
                first.applied.receipts.offset
            ));
        }
    }

    if by_place.len() > 1 {
        return Verdict::Unknown(
            "its replicas do not stand at the same place; somebody writes, or one lags".to_owned(),
        );
    }
    Verdict::Equal
}

async fn digest(places: &[Place], shard: u16, node: &NodeId) -> Result<ShardDigest, String> {
    let path = format!("/shards/{shard}/digest?node={}", node.0);
    understood(&first(places, (&Method::GET, &path), None).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;
    use crate::log::PerStream;
    use crate::log::record::Tail;
    use crate::shard::replicas::ReplicaDigest;

    fn digest(node: &str, offset: u64, content: u8) -> ShardDigest {
        let tail = Tail {
            offset: crate::ids::Offset(offset),
            ..Tail::EMPTY
        };
        let made = ReplicaDigest {
            applied: PerStream::both(tail),
            sha256: [content; 32],
        };
        ShardDigest::of(ShardId(3), NodeId::from(node), "standby", &made)
    }

    #[test]
    fn replicas_differ_only_where_they_stand_at_the_same_place_and_hold_different_things() {
        assert_eq!(compared(&[digest("a", 1, 7)]), Verdict::Equal);
        assert_eq!(
            compared(&[digest("a", 1, 7), digest("b", 1, 7)]),
            Verdict::Equal
        );
        assert!(matches!(
            compared(&[digest("a", 1, 7), digest("b", 2, 8)]),
            Verdict::Unknown(_)
        ));
        let Verdict::Differs(why) =
            compared(&[digest("a", 1, 7), digest("b", 2, 7), digest("c", 1, 8)])
        else {
            panic!("a and c differ")
        };
        assert!(why.contains("a (standby) and c (standby)"), "{why}");
    }
}
