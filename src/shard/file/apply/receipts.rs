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
use crate::log::record::{Advance, Entry, Record};
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
}

/// What the file held before the batch.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Watermarks of those who ever moved one, of those asked.
    pub(crate) watermarks: BTreeMap<Participant, Watermarks>,
    /// Times and epochs.
    pub(crate) clockwork: Clockwork,
}

/// The rows to write, each table's once.
#[derive(Debug, Default)]
pub(crate) struct Changes {
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
    /// Records put aside.
    pub(crate) quarantined: Vec<Quarantined>,
    /// Times and epochs after the batch.
    pub(crate) clockwork: Clockwork,
}

/// Whose watermarks must be known to fold these entries.
#[must_use]
pub(crate) fn asked<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> BTreeSet<Participant> {
    let mut asked = BTreeSet::new();
    for record in entries.into_iter().flat_map(|entry| &entry.records) {
        if let Record::Advances {
            conversation,
            advances,
            ..
        } = record
        {
            asked.extend(
                advances
                    .iter()
                    .map(|advance| (conversation.clone(), advance.user.clone())),
            );
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
    for entry in entries {
        for (offset, record) in entry.numbered() {
            changes.clockwork.see(entry, record);
            if let Err(reason) = fold_record(&mut known, &mut changes, record) {
                changes
                    .quarantined
                    .push(Quarantined::new(offset, record, reason));
            }
        }
    }
    changes
}

fn fold_record(known: &mut Known, changes: &mut Changes, record: &Record) -> Result<(), String> {
    match record {
        Record::Advances {
            conversation,
            ts,
            advances,
        } => {
            for advance in advances {
                fold_advance(known, changes, conversation, advance, *ts);
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
            changes.reactions.insert((*message_id, user.clone()), row);
            Ok(())
        }
        Record::EpochStart { .. } => Ok(()),
        Record::Event(_)
        | Record::Index(_)
        | Record::KeyUsed(_)
        | Record::Banned(_)
        | Record::Unbanned(_)
        | Record::OutboxProgress { .. } => Err("belongs to the messages stream".to_owned()),
        Record::Unreadable { reason, .. } => Err(reason.clone()),
    }
}

fn fold_advance(
    known: &mut Known,
    changes: &mut Changes,
    name: &ConversationName,
    advance: &Advance,
    ts: u64,
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
            changes.folds.insert(
                (whose.clone(), kind),
                exact_since(now.min(changes.clockwork.time)),
            );
        }
        // Whatever the move before tells, this one tells as well.
        let same = (whose.clone(), kind, *mark);
        if *mark > Seq(0) && now == *at && changes.advances.remove(&same).is_none() {
            changes.replaced.insert(same);
        }
        changes.advances.insert((whose.clone(), kind, to), now);
        *mark = to;
        *at = now;
    }

    if *marks != before {
        changes.watermarks.insert(whose, *marks);
    }
}

/// From when on times are exact, once an advance was made at `ts`.
fn exact_since(ts: u64) -> u64 {
    (ts / DAY_MS * DAY_MS).saturating_sub(EXACT_DAYS * DAY_MS)
}
