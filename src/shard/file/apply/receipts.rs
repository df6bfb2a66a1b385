//! The receipts stream: watermarks, their advances, reactions.
//!
//! **How long a "when" is exact.** Each move of a watermark is kept as an advance. At the first
//! advance of a new day (by record time, UTC) those older than 30 days before that day are folded
//! into the highest of them. So a time is exact for 30 days, and afterwards not earlier than true.
//! The times of one watermark never fall: a record that says an earlier time than the advance
//! before it gets that one's.
//!
//! **What a wrong clock does to it** (ADR 18). A watermark itself moves by seqs alone: it neither
//! goes back nor stands still, whatever the time of day says. A clock that was ahead once folds
//! nothing early, for it is folded up to 30 days before the time of the shard at most, which runs
//! as fast as true time or slower. While later moves say the time that it said, each takes the
//! place of the one before: nothing is lost by that, and they do not pile up until the clocks have
//! caught up.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ConversationName, MessageId, Seq, UserId};
use crate::log::record::{Advance, Entry, Pruning, Record};
use crate::shard::file::apply::{Clockwork, Quarantined};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const EXACT_DAYS: u64 = 30;

/// Which watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Given to a device.
    Delivered,
    /// Read by the user.
    Read,
}

impl Kind {
    /// As stored.
    #[must_use]
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Delivered => 0,
            Self::Read => 1,
        }
    }
}

/// Whose watermarks.
pub(crate) type Participant = (ConversationName, UserId);

/// A move of one watermark, up to a seq.
pub(crate) type Move = (Participant, Kind, Seq);

/// A participant's watermarks and the times of their last moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Watermarks {
    pub(crate) delivered: Seq,
    pub(crate) read: Seq,
    pub(crate) delivered_at: u64,
    pub(crate) read_at: u64,
    /// Up to where they count as having read, and when they said so or read on, of those who once
    /// said so.
    pub(crate) own: Option<(Seq, u64)>,
}

/// What the file held before the batch.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Watermarks of those who ever moved one, of those asked.
    pub(crate) watermarks: BTreeMap<Participant, Watermarks>,
    /// Times and epochs.
    pub(crate) clockwork: Clockwork,
}

/// What a batch writes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Its rows, one part after the other.
    pub(crate) parts: Vec<Part>,
    /// Records put aside.
    pub(crate) quarantined: Vec<Quarantined>,
    /// Times and epochs after the batch.
    pub(crate) clockwork: Clockwork,
}

/// The rows to write, each table's once, up to where something is erased: what comes out must not
/// hang on what comes in one batch with that.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// Watermarks that moved.
    pub(crate) watermarks: BTreeMap<Participant, Watermarks>,
    /// How they moved, and when.
    pub(crate) advances: BTreeMap<Move, u64>,
    /// Moves in the file whose place is taken by a later one of the same time.
    pub(crate) replaced: BTreeSet<Move>,
    /// Advances to fold, after the new ones are written: those before this time, into the highest
    /// of them.
    pub(crate) folds: BTreeMap<(Participant, Kind), u64>,
    /// Reactions: set with their time, or taken back.
    pub(crate) reactions: BTreeMap<(MessageId, UserId), (ConversationName, Option<u32>, u64)>,
    /// Afterwards the watermarks of this closed conversation go, and its next advances and
    /// reactions.
    pub(crate) erased: Option<ConversationName>,
    /// Afterwards advances up to a seq of this conversation go, and reactions to these messages.
    pub(crate) pruned: Option<Pruning>,
}

/// Whose watermarks must be known to fold these entries.
#[must_use]
pub(crate) fn asked<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> BTreeSet<Participant> {
    let mut asked = BTreeSet::new();
    for record in entries.into_iter().flat_map(|entry| &entry.records) {
        match record {
            Record::Advances {
                conversation,
                advances,
                ..
            } => asked.extend(
                advances
                    .iter()
                    .map(|advance| (conversation.clone(), advance.user.clone())),
            ),
            Record::OwnMark(mark) => {
                asked.insert((mark.conversation.clone(), mark.user.clone()));
            }
            _ => {}
        }
    }

    asked
}

/// Folds entries, in order, over what is known.
#[must_use]
pub(crate) fn fold<'a>(mut known: Known, entries: impl IntoIterator<Item = &'a Entry>) -> Changes {
    let mut changes = Changes {
        clockwork: known.clockwork,
        ..Changes::default()
    };
    let mut part = Part::default();

    for entry in entries {
        for (offset, record) in entry.numbered() {
            changes.clockwork.see(entry, record);
            let time = changes.clockwork.time;
            if let Err(reason) = fold_record(&mut known, &mut part, record, time) {
                changes
                    .quarantined
                    .push(Quarantined::new(offset, record, reason));
            }
            if part.erased.is_some() || part.pruned.is_some() {
                changes.parts.push(std::mem::take(&mut part));
            }
        }
    }

    changes.parts.push(part);
    changes
}

/// Folds a record at this time of the shard.
fn fold_record(
    known: &mut Known,
    part: &mut Part,
    record: &Record,
    time: u64,
) -> Result<(), String> {
    match record {
        Record::Advances {
            conversation,
            ts,
            advances,
        } => {
            for advance in advances {
                fold_advance(known, part, (conversation, advance), (*ts, time));
            }
            Ok(())
        }
        Record::Reaction {
            conversation,
            message_id,
            user,
            reaction,
            ts,
        } => {
            let row = (conversation.clone(), *reaction, *ts);
            part.reactions.insert((*message_id, user.clone()), row);
            Ok(())
        }
        Record::OwnMark(mark) => {
            let whose = (mark.conversation.clone(), mark.user.clone());
            let marks = known.watermarks.entry(whose.clone()).or_default();
            marks.own = Some((mark.read_up_to, mark.at));
            part.watermarks.insert(whose, *marks);
            Ok(())
        }
        Record::Erased(erasure) => {
            let name = &erasure.conversation;
            known.watermarks.retain(|(of, _), _| of != name);
            part.erased = Some(name.clone());
            Ok(())
        }
        Record::Pruned(pruning) => {
            part.pruned = Some(pruning.clone());
            Ok(())
        }
        Record::EpochStart { .. } => Ok(()),
        Record::Event(_)
        | Record::Index(_)
        | Record::KeyUsed(_)
        | Record::Banned(_)
        | Record::Unbanned(_)
        | Record::Viewed(_)
        | Record::OutboxProgress { .. } => Err("belongs to the messages stream".to_owned()),
        Record::Unreadable { reason, .. } => Err(reason.clone()),
    }
}

fn fold_advance(
    known: &mut Known,
    part: &mut Part,
    (name, advance): (&ConversationName, &Advance),
    (ts, time): (u64, u64),
) {
    let whose = (name.clone(), advance.user.clone());
    let marks = known.watermarks.entry(whose.clone()).or_default();
    let before = *marks;
    // What is read was delivered, whatever the record says.
    let delivered = advance.delivered.max(advance.read);
    let moves = [
        (
            Kind::Delivered,
            delivered,
            &mut marks.delivered,
            &mut marks.delivered_at,
        ),
        (
            Kind::Read,
            advance.read,
            &mut marks.read,
            &mut marks.read_at,
        ),
    ];

    for (kind, to, mark, at) in moves {
        if to <= *mark {
            continue;
        }
        let now = ts.max(*at);
        if *mark > Seq(0) && exact_since(now) > exact_since(*at) {
            part.folds
                .insert((whose.clone(), kind), exact_since(now.min(time)));
        }
        // Whatever the move before tells, this one tells as well.
        let same = (whose.clone(), kind, *mark);
        if *mark > Seq(0) && now == *at && part.advances.remove(&same).is_none() {
            part.replaced.insert(same);
        }
        part.advances.insert((whose.clone(), kind, to), now);
        *mark = to;
        *at = now;
    }

    // One who said up to where they count as having read, and reads beyond that, goes on from
    // there.
    if let Some((own, at)) = &mut marks.own
        && advance.read > *own
    {
        (*own, *at) = (advance.read, ts);
    }

    if *marks != before {
        part.watermarks.insert(whose, *marks);
    }
}

/// From when on times are exact, once an advance was made at `ts`.
fn exact_since(ts: u64) -> u64 {
    (ts / DAY_MS * DAY_MS).saturating_sub(EXACT_DAYS * DAY_MS)
}
