//! The part of the peer contract by which shards change hands between living nodes (ADR 19), and
//! nodes tell how they stand. Since version 5; what is to be moved (ADR 20) since version 6.

use serde::{Deserialize, Serialize};

use crate::cluster::balance::Step;
use crate::ids::{Epoch, NodeId};
use crate::log::record::Tail;
use crate::log::{PerStream, Token};
use crate::shard::ShardStatus;

/// What one node asks another about a shard that is to change hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum HandOverAsk {
    /// To a standby, from the owner: whether it would take the shard now.
    Ready,
    /// To a standby, from the owner: it is yours. Answered when it is served there.
    Take {
        /// The epoch of the token that the log holds now.
        epoch: Epoch,
        /// Likewise.
        nonce: u64,
        /// Where the streams end.
        tails: PerStream<Tail>,
    },
    /// To the owner, from whoever looks after the balance: give it to that node. Answered when it
    /// is served there.
    Give {
        /// To whom.
        to: NodeId,
    },
}

/// How a node stands, and what it owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStanding {
    /// The version of its program.
    pub version: String,
    /// It takes shards and sessions.
    pub ready: bool,
    /// It is cut off from the log while others are not.
    pub cut_off: bool,
    /// Live sessions.
    pub sessions: u64,
    /// Shards that it stands by for.
    pub standbys: u64,
    /// The shards that are open there.
    pub shards: Vec<ShardStatus>,
    /// Files of shards in its folder: one that is drained has none. A node of a version that knows
    /// no drain tells nothing.
    #[serde(default)]
    pub files: Option<u64>,
}

/// What a coordinator would move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalancePlan {
    /// The node that coordinates.
    pub leader: NodeId,
    /// Whether it evens anything out (`--balance`).
    pub evens: bool,
    /// Shards that rest: they were moved, or could not be, a moment ago.
    pub resting: u64,
    /// One after the other.
    pub steps: Vec<Step>,
}

impl HandOverAsk {
    /// What the owner says when it has given the shard away.
    #[must_use]
    pub(crate) fn take(token: Token, tails: PerStream<Tail>) -> Self {
        Self::Take {
            epoch: token.epoch,
            nonce: token.nonce,
            tails,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::balance::What;
    use crate::ids::{Offset, ShardId};
    use crate::link::codec::{decode, encode};
    use crate::log::record::Chain;
    use crate::node::link::frame::{Answer, Body, Frame, Outcome, Request};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_gift_comes_as_it_was_sent() {
        let token = Token {
            epoch: Epoch(8),
            nonce: u64::MAX,
        };
        let tails = PerStream {
            messages: Tail {
                offset: Offset(5),
                chain: Chain([1; 16]),
            },
            receipts: Tail {
                offset: Offset(6),
                chain: Chain([2; 16]),
            },
        };

        let body = Body::HandOver {
            shard: ShardId(12),
            ask: HandOverAsk::take(token, tails),
        };
        assert_eq!(body.since(), 5, "older nodes do not know it");

        let sent = Frame::Request(Request {
            id: 7,
            deadline_ms: 300,
            table_version: 3,
            table_age_ms: None,
            body,
        });

        let bytes = encode(&sent).expect("it is written");
        let read: Frame = decode(&bytes).expect("it is read");
        let Frame::Request(Request {
            body:
                Body::HandOver {
                    shard: ShardId(12),
                    ask,
                },
            ..
        }) = read
        else {
            panic!("{read:?}")
        };

        assert_eq!(
            ask,
            HandOverAsk::Take {
                epoch: token.epoch,
                nonce: token.nonce,
                tails
            }
        );
    }

    #[test]
    fn a_standing_of_the_version_before_is_read_and_a_plan_comes_as_it_was_sent() {
        let before = serde_json::json!({
            "version": "0.1.0", "ready": true, "cut_off": false, "sessions": 1, "standbys": 2, "shards": [],
        });
        let standing: NodeStanding =
            decode(&encode(&before).expect("it is written")).expect("it is read");
        assert_eq!((standing.files, standing.standbys), (None, 2));

        let [from, to] = ["node-1", "node-2"].map(NodeId::from);
        let step = Step {
            what: What::Copy,
            shard: ShardId(3),
            from: from.clone(),
            to,
            why: "it drains".to_owned(),
        };
        let plan = BalancePlan {
            leader: from,
            evens: true,
            resting: 2,
            steps: vec![step],
        };
        let outcome = Outcome::Balance(Some(Box::new(plan.clone())));
        let sent = Answer {
            id: 1,
            table_version: 2,
            table_age_ms: None,
            result: Ok(outcome),
            moved: Vec::new(),
        };
        let bytes = encode(&Frame::<()>::Answer(sent)).expect("it is written");
        let Ok(Frame::<Body>::Answer(Answer {
            result: Ok(Outcome::Balance(Some(read))),
            ..
        })) = decode(&bytes)
        else {
            panic!("not read")
        };
        assert_eq!(*read, plan);
        assert_eq!(
            Body::Balance { asked_by: None }.since(),
            6,
            "older nodes do not know it"
        );
    }

    #[test]
    fn an_answer_tells_where_shards_are_only_when_there_is_something_to_tell() {
        let answer = |moved| Answer {
            id: 1,
            table_version: 2,
            table_age_ms: None,
            result: Ok(Outcome::Ended),
            moved,
        };
        let silent = encode(&Frame::<()>::Answer(answer(Vec::new()))).expect("it is written");

        assert!(
            !hex(&silent).contains(&hex(b"moved")),
            "as it was before version 5"
        );

        let telling = vec![(ShardId(3), NodeId::from("node-2"))];
        let bytes = encode(&Frame::<()>::Answer(answer(telling.clone()))).expect("it is written");
        let Ok(Frame::<Body>::Answer(read)) = decode(&bytes) else {
            panic!("not read")
        };
        assert_eq!(read.moved, telling);
    }
}
