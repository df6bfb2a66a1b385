//! The part of the peer contract by which shards change hands between living nodes (ADR 19), and nodes tell how they stand.
//! Since version 5.

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, NodeId};
use crate::log::record::Tail;
use crate::log::{PerStream, Token};
use crate::shard::ShardStatus;

/// What one node asks another about a shard that is to change hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HandOverAsk {
    /// To a standby, from the owner: whether it would take the shard now.
    Ready,
    /// To a standby, from the owner: it is yours. Answered when it is served there.
    Take {
        /// Of the token that the log holds now.
        epoch: Epoch,
        /// Likewise.
        nonce: u64,
        /// Where the streams end.
        tails: PerStream<Tail>,
    },
    /// To the owner, from whoever looks after the balance: give it to that node. Answered when it is served there.
    Give {
        /// To whom.
        to: NodeId,
    },
}

/// How a node stands, and what it owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStanding {
    /// Of its program.
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
}

impl HandOverAsk {
    /// What the owner says when it has given the shard away.
    #[must_use]
    pub fn take(token: Token, tails: PerStream<Tail>) -> Self {
        Self::Take { epoch: token.epoch, nonce: token.nonce, tails }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Offset, ShardId};
    use crate::link::codec::{decode, encode};
    use crate::log::record::Chain;
    use crate::node::link::frame::{Answer, Body, Frame, Outcome, Request};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_gift_comes_as_it_was_sent() {
        let token = Token { epoch: Epoch(8), nonce: u64::MAX };
        let tails = PerStream {
            messages: Tail { offset: Offset(5), chain: Chain([1; 16]) },
            receipts: Tail { offset: Offset(6), chain: Chain([2; 16]) },
        };
        let body = Body::HandOver { shard: ShardId(12), ask: HandOverAsk::take(token, tails) };
        assert_eq!(body.since(), 5, "older nodes do not know it");
        let sent = Frame::Request(Request { id: 7, deadline_ms: 300, table_version: 3, table_age_ms: None, body });
        let bytes = encode(&sent).expect("it is written");
        let read: Frame = decode(&bytes).expect("it is read");
        let Frame::Request(Request { body: Body::HandOver { shard: ShardId(12), ask }, .. }) = read else {
            panic!("{read:?}")
        };
        assert_eq!(ask, HandOverAsk::Take { epoch: token.epoch, nonce: token.nonce, tails });
    }

    #[test]
    fn an_answer_tells_where_shards_are_only_when_there_is_something_to_tell() {
        let answer = |moved| Answer { id: 1, table_version: 2, table_age_ms: None, result: Ok(Outcome::Ended), moved };
        let silent = encode(&Frame::<()>::Answer(answer(Vec::new()))).expect("it is written");
        assert!(!hex(&silent).contains(&hex(b"moved")), "as it was before version 5");
        let telling = vec![(ShardId(3), NodeId::from("node-2"))];
        let bytes = encode(&Frame::<()>::Answer(answer(telling.clone()))).expect("it is written");
        let Ok(Frame::<Body>::Answer(read)) = decode(&bytes) else { panic!("not read") };
        assert_eq!(read.moved, telling);
    }
}
