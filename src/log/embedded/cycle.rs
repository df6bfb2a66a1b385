//! What one cycle decides. Pure: requests in the order in which they came, against the state of the
//! file and what the cycle decided before; out come the answers, and the effects that make them
//! true once they are committed together.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::ids::{Epoch, Offset, ShardId};
use crate::log::{AppendOutcome, Batch, Claim, ClaimOutcome, Control, Stream, Token};

/// No one's token: of epoch 0, which means never owned.
const NO_TOKEN: Token = Token {
    epoch: Epoch(0),
    nonce: 0,
};

/// A versioned value of the table store, opaque here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Grows by one with every swap; the first is 1.
    pub(crate) version: u64,
    /// The value.
    pub(crate) body: Bytes,
}

/// What the log holds beside the entries; kept in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct State {
    pub(super) controls: BTreeMap<ShardId, Control>,
    pub(super) cells: BTreeMap<String, Cell>,
}

/// Key of a stream in the log.
pub(super) fn stream_key(shard: ShardId, stream: Stream) -> u32 {
    u32::from(shard.0) * 2 + u32::from(stream == Stream::Receipts)
}

/// An entry to be written.
#[derive(Debug)]
pub(super) struct NewEntry {
    pub(super) stream: u32,
    pub(super) last: Offset,
    pub(super) bytes: Bytes,
}

/// Entries that are needed no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TrimStep {
    pub(super) stream: u32,
    pub(super) upto: Offset,
}

/// Everything that one record holds, in the order: entries, trims, then controls and cells.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) entries: Vec<NewEntry>,
    pub(super) trims: Vec<TrimStep>,
    pub(super) controls: BTreeMap<ShardId, Control>,
    pub(super) cells: BTreeMap<String, Cell>,
}

impl Effects {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.trims.is_empty()
            && self.controls.is_empty()
            && self.cells.is_empty()
    }
}

/// A cycle in the making.
#[derive(Debug)]
pub(super) struct Cycle<'s> {
    before: &'s State,
    effects: Effects,
}

impl<'s> Cycle<'s> {
    pub(super) fn new(before: &'s State) -> Self {
        Self {
            before,
            effects: Effects::default(),
        }
    }

    pub(super) fn into_effects(self) -> Effects {
        self.effects
    }

    fn control(&self, shard: ShardId) -> Option<&Control> {
        self.effects
            .controls
            .get(&shard)
            .or_else(|| self.before.controls.get(&shard))
    }

    /// The control record for change, if `token` is current; else the current token.
    fn held(&mut self, shard: ShardId, token: Token) -> Result<&mut Control, Token> {
        let control = self.control(shard).ok_or(NO_TOKEN)?;
        if control.token != token {
            return Err(control.token);
        }
        let control = control.clone();
        Ok(self.effects.controls.entry(shard).or_insert(control))
    }

    pub(super) fn append(&mut self, batch: &Batch) -> AppendOutcome {
        let found = match self.control(batch.shard) {
            Some(control) if control.token == batch.token => control.tails[batch.stream],
            other => {
                return AppendOutcome::Fenced {
                    current: other.map_or(NO_TOKEN, |control| control.token),
                };
            }
        };
        let outcome = if found == batch.expected {
            AppendOutcome::Appended
        } else if found == batch.tail {
            AppendOutcome::AlreadyDone
        } else {
            return AppendOutcome::TailMismatch { found };
        };

        if let Ok(control) = self.held(batch.shard, batch.token) {
            control.beat += 1;
            control.tails[batch.stream] = batch.tail;
        }

        if outcome == AppendOutcome::Appended {
            let stream = stream_key(batch.shard, batch.stream);
            self.effects.entries.push(NewEntry {
                stream,
                last: batch.tail.offset,
                bytes: batch.bytes.clone(),
            });
        }

        outcome
    }

    pub(super) fn claim(&mut self, claim: &Claim) -> ClaimOutcome {
        let current = self.control(claim.shard);
        let as_expected = current.map(|control| (control.token, control.beat)) == claim.expected;
        let rises =
            claim.token.epoch > current.map_or(NO_TOKEN.epoch, |control| control.token.epoch);
        let same_cluster = current.is_none_or(|control| control.identity == claim.identity);

        let ends_there = claim
            .ends_at
            .is_none_or(|tails| current.is_some_and(|control| control.tails == tails));
        if !(as_expected && rises && same_cluster && ends_there) {
            return ClaimOutcome::Refused(current.cloned());
        }

        let control = Control {
            identity: claim.identity,
            token: claim.token,
            owner: claim.owner.clone(),
            beat: current.map_or(1, |control| control.beat + 1),
            tails: current.map_or(claim.begin_at, |control| control.tails),
        };
        self.effects.controls.insert(claim.shard, control.clone());
        ClaimOutcome::Claimed(control)
    }

    pub(super) fn renew(&mut self, shard: ShardId, token: Token) -> bool {
        self.held(shard, token)
            .map(|control| control.beat += 1)
            .is_ok()
    }

    /// Trims a stream; without effect when the token is not current.
    pub(super) fn trim(&mut self, shard: ShardId, token: Token, stream: Stream, upto: Offset) {
        let Some(control) = self.control(shard).filter(|control| control.token == token) else {
            return;
        };
        // What a later request of this cycle appends is not meant.
        let upto = upto.min(control.tails[stream].offset);
        self.effects.trims.push(TrimStep {
            stream: stream_key(shard, stream),
            upto,
        });
    }

    pub(super) fn swap(&mut self, name: &str, expected: u64, body: &Bytes) -> bool {
        let current = self
            .effects
            .cells
            .get(name)
            .or_else(|| self.before.cells.get(name));
        if current.map_or(0, |cell| cell.version) != expected {
            return false;
        }

        self.effects.cells.insert(
            name.to_owned(),
            Cell {
                version: expected + 1,
                body: body.clone(),
            },
        );

        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;
    use crate::log::PerStream;
    use crate::log::conformance::{batch, identity};
    use crate::log::record::Tail;

    const SHARD: ShardId = ShardId(1);
    const M: Stream = Stream::Messages;

    fn claim(expected: Option<(Token, u64)>, token: Token) -> Claim {
        Claim {
            shard: SHARD,
            expected,
            token,
            owner: NodeId::from("n"),
            identity: identity(),
            begin_at: PerStream::both(Tail::EMPTY),
            ends_at: None,
        }
    }

    #[test]
    fn a_request_sees_what_earlier_ones_of_its_cycle_decided() {
        let nothing = State::default();
        let mut cycle = Cycle::new(&nothing);
        let (first, second) = (Token::new(Epoch(1)), Token::new(Epoch(2)));
        let ClaimOutcome::Claimed(control) = cycle.claim(&claim(None, first)) else {
            panic!("refused")
        };
        let one = batch(SHARD, M, first, &Tail::EMPTY, (2, "one"));
        let two = batch(SHARD, M, first, &one.tail, (1, "two"));
        assert_eq!(cycle.append(&one), AppendOutcome::Appended);
        assert_eq!(cycle.append(&two), AppendOutcome::Appended);
        assert_eq!(cycle.append(&two), AppendOutcome::AlreadyDone);

        let stale = claim(Some((first, control.beat)), second);
        assert!(
            matches!(cycle.claim(&stale), ClaimOutcome::Refused(Some(_))),
            "the beat moved"
        );

        let ClaimOutcome::Claimed(taken) =
            cycle.claim(&claim(Some((first, control.beat + 3)), second))
        else {
            panic!("refused")
        };

        assert_eq!(taken.tails[M], two.tail);
        assert_eq!(
            cycle.append(&two),
            AppendOutcome::Fenced { current: second }
        );
        assert!(cycle.swap("table", 0, &Bytes::new()) && !cycle.swap("table", 0, &Bytes::new()));

        let effects = cycle.into_effects();
        assert_eq!(
            effects
                .entries
                .iter()
                .map(|entry| entry.last.0)
                .collect::<Vec<_>>(),
            [2, 3]
        );
        assert_eq!(effects.controls.get(&SHARD), Some(&taken));
    }

    #[test]
    fn a_trim_does_not_reach_what_a_later_request_of_its_cycle_appends() {
        let nothing = State::default();
        let mut cycle = Cycle::new(&nothing);
        let token = Token::new(Epoch(1));
        cycle.claim(&claim(None, token));
        let one = batch(SHARD, M, token, &Tail::EMPTY, (2, "one"));
        cycle.append(&one);
        cycle.trim(SHARD, token, M, Offset(9));
        cycle.append(&batch(SHARD, M, token, &one.tail, (2, "two")));
        assert_eq!(
            cycle.into_effects().trims.first().map(|step| step.upto),
            Some(Offset(2))
        );
    }

    #[test]
    fn refusals_have_no_effects() {
        let nothing = State::default();
        let mut cycle = Cycle::new(&nothing);
        let token = Token::new(Epoch(1));
        cycle.claim(&claim(Some((token, 1)), token));
        cycle.append(&batch(SHARD, M, token, &Tail::EMPTY, (2, "one")));
        cycle.trim(SHARD, token, M, Offset(9));
        assert!(!cycle.renew(SHARD, token) && !cycle.swap("table", 3, &Bytes::new()));
        assert!(cycle.into_effects().is_empty());
    }
}
