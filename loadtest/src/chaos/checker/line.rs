//! One conversation: its one order, pieced together from everything that anybody saw, and the
//! memberships that follow.

use std::collections::{BTreeMap, HashMap};

use crate::chaos::checker::floor::Floor;
use crate::chaos::checker::refusals::Refusals;
use crate::chaos::checker::refused::Refused;
use crate::chaos::checker::session::{Jump, Session};
use crate::chaos::checker::standing::Standings;
use crate::chaos::checker::sure::Sure;
use crate::chaos::checker::words::Contents;
use crate::chaos::history::{Item, Micros, What};

/// A stay of a user: from their `joined` to their `left`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stay {
    from: u64,
    to: Option<u64>,
    /// It surely did not begin before this moment: a message before it had not been asked for.
    not_before: Micros,
}

#[derive(Debug)]
struct Entry {
    digest: u64,
    what: What,
    /// When anybody saw it first.
    seen: Micros,
    /// When it was asked for; 0 when that is not known.
    begun: Micros,
}

/// To which message; when that was answered, and with which value.
pub(crate) type Reaction = (u64, Option<(Micros, Option<u32>)>);

/// What is known of a conversation.
#[derive(Debug, Default)]
pub(crate) struct Line {
    entries: Vec<Option<Entry>>,
    /// Up to here nothing is missing, and memberships are known.
    folded: u64,
    /// What is folded was all there only after this moment.
    reached: Micros,
    stays: BTreeMap<u32, Vec<Stay>>,
    /// Frames that came before it was known whether they should: user, seq, when.
    early: Vec<(u32, u64, Micros)>,
    /// Sent to one who was out at that seq; right only if they came in again before.
    doubtful: Vec<(u32, u64, Micros)>,
    /// The highest change that was known, and the highest message.
    pub(crate) floor: Floor,
    pub(crate) messages: Floor,
    /// When it was first asked for.
    pub(crate) asked: Option<Micros>,
    /// Sessions that went on after they had been out: which, whose, and over what.
    pub(crate) jumps: Vec<(u64, u32, Jump)>,
    /// Refusals whose reasons are still to be seen.
    pub(crate) refusals: Refusals,
    /// When users were told that they do not participate.
    pub(crate) refused: Refused,
    /// What answers tell of memberships.
    pub(crate) sure: HashMap<u32, Sure>,
    /// Delivered and read, of each user.
    pub(crate) marks: HashMap<u32, [Floor; 2]>,
    /// The last reaction that was answered: user, then message and value; `None` while that is
    /// open.
    pub(crate) reactions: HashMap<u32, Reaction>,
    /// What its messages say.
    pub(crate) contents: Contents,
    /// What its participants may do.
    pub(crate) standings: Standings,
}

/// Messages that should not be there, as far as the order is known by now: by whom, and their seqs.
#[derive(Debug, Default)]
pub(crate) struct Misplaced {
    /// Who was not in.
    pub(crate) strangers: Vec<(u32, u64)>,
    /// Who might not send.
    pub(crate) silent: Vec<(u32, u64)>,
}

/// What a sight of an item was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Nobody had seen this seq.
    New,
    /// As others saw it.
    Same,
    /// Others saw something else here.
    Other,
}

impl Line {
    /// Somebody saw an item, which was asked for at some time, 0 if that is not known.
    pub(crate) fn see(&mut self, item: &Item, seen: Micros, begun: Micros) -> Sight {
        let Some(at) = item
            .seq
            .checked_sub(1)
            .and_then(|at| usize::try_from(at).ok())
        else {
            return Sight::Other;
        };

        if at >= self.entries.len() {
            self.entries.resize_with(at + 1, || None);
        }

        match self.entries.get_mut(at) {
            Some(slot @ None) => {
                *slot = Some(Entry {
                    digest: item.digest,
                    what: item.what.clone(),
                    seen,
                    begun,
                });
                Sight::New
            }
            Some(Some(entry)) if entry.digest == item.digest => {
                // Of an erased message it is not shown which operation it was of.
                if let (What::Message { op, .. }, What::Message { op: shown, .. }) =
                    (&mut entry.what, &item.what)
                    && *op == 0
                {
                    *op = *shown;
                }
                Sight::Same
            }
            _ => Sight::Other,
        }
    }

    fn entry(&self, seq: u64) -> Option<&Entry> {
        let at = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.entries.get(at)?.as_ref()
    }

    /// What is known to be at a seq.
    pub(crate) fn at(&self, seq: u64) -> Option<&What> {
        self.entry(seq).map(|entry| &entry.what)
    }

    /// When anybody saw it first.
    pub(crate) fn seen(&self, seq: u64) -> Option<Micros> {
        self.entry(seq).map(|entry| entry.seen)
    }

    /// The highest seq that anybody saw.
    pub(crate) fn last(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }

    /// Up to where nothing is missing.
    pub(crate) fn folded(&self) -> u64 {
        self.folded
    }

    /// Goes on over what is whole by now.
    pub(crate) fn fold(&mut self) -> Misplaced {
        let mut misplaced = Misplaced::default();
        while let Some((what, begun)) = self
            .entry(self.folded + 1)
            .map(|entry| (entry.what.clone(), entry.begun))
        {
            self.folded += 1;
            let seq = self.folded;
            self.reached = self.reached.max(begun);
            let is_silent = self.standings.fold(&what);
            match what {
                What::Message { source, .. } if !self.is_in(source, seq) => {
                    misplaced.strangers.push((source, seq))
                }
                What::Message { source, .. } if is_silent => misplaced.silent.push((source, seq)),
                What::Message { source, .. } => {
                    let since = self
                        .stay_at(source, seq)
                        .and_then(|stay| self.seen(stay.from));
                    self.refused.served(source, seq, since, begun);
                }
                What::Created { users } | What::Joined { users } => {
                    users.into_iter().for_each(|user| self.enter(user, seq))
                }
                What::Left { user } => self.leave(user, seq),
                What::Edited { .. } | What::Deleted { .. } | What::Role { .. } => {}
            }
        }

        if !self.early.is_empty() {
            for (user, seq, at) in std::mem::take(&mut self.early) {
                self.sent(user, seq, at);
            }
        }

        misplaced
    }

    fn enter(&mut self, user: u32, seq: u64) {
        let stays = self.stays.entry(user).or_default();
        if stays.last().is_none_or(|stay| stay.to.is_some()) {
            stays.push(Stay {
                from: seq,
                to: None,
                not_before: self.reached,
            });
            let seen = self.seen(seq).unwrap_or(0);
            self.refused.enters(user, seen);
        }
    }

    fn leave(&mut self, user: u32, seq: u64) {
        if let Some(stay) = self.stays.get_mut(&user).and_then(|stays| stays.last_mut()) {
            stay.to.get_or_insert(seq);
        }
    }

    /// Whether a user was in at a seq; their own `left` is still theirs.
    pub(crate) fn is_in(&self, user: u32, seq: u64) -> bool {
        self.stay_at(user, seq).is_some()
    }

    fn stay_at(&self, user: u32, seq: u64) -> Option<&Stay> {
        let stays = self.stays.get(&user).map_or(&[][..], Vec::as_slice);
        stays
            .iter()
            .find(|stay| stay.from <= seq && stay.to.is_none_or(|to| seq <= to))
    }

    /// A stay of a user that begins where nothing of theirs should: from where to where.
    pub(crate) fn stay_within(&self, user: u32, jump: Jump) -> Option<(u64, Option<u64>)> {
        let fits = |stay: &&Stay| {
            stay.from > jump.after
                && stay.from < jump.until
                && (jump.began_after == 0 || stay.not_before > jump.began_after)
        };
        self.stays
            .get(&user)?
            .iter()
            .find(fits)
            .map(|stay| (stay.from, stay.to))
    }

    /// Where the stay of the user begins in which this seq is.
    pub(crate) fn stay_of(&self, user: u32, seq: u64) -> Option<u64> {
        let is_within = |stay: &&Stay| stay.from <= seq && stay.to.is_none_or(|to| seq <= to);
        self.stays
            .get(&user)?
            .iter()
            .find(is_within)
            .map(|stay| stay.from)
    }

    /// The first stay of a session's user that began while it was there, and that it was told
    /// nothing of: where it begins, and since when that is known.
    pub(crate) fn untold(&self, session: &Session, conversation: u32) -> Option<(u64, Micros)> {
        let stays = self.stays.get(&session.user)?;
        let since = session
            .ready?
            .max(session.refused(conversation).unwrap_or(0));
        let told = match session.position(conversation) {
            Some((_, false)) => return None,
            Some((seq, true)) => seq,
            None => 0,
        };
        let stay = stays
            .iter()
            .find(|stay| stay.from > told && stay.not_before > since)?;
        Some((stay.from, self.seen(stay.from)?))
    }

    /// A frame with this seq went to a user.
    pub(crate) fn sent(&mut self, user: u32, seq: u64, at: Micros) {
        if seq > self.folded {
            self.early.push((user, seq, at));
        } else if !self.is_in(user, seq) {
            self.doubtful.push((user, seq, at));
        }
    }

    /// Frames to those who were out, and never came in again: who and which seq. Only sure when all
    /// is known.
    pub(crate) fn sent_to_strangers(&self) -> Vec<(u32, u64)> {
        let came_back = |user: &u32, seq: u64| {
            self.stays
                .get(user)
                .is_some_and(|stays| stays.iter().any(|stay| stay.from > seq))
        };
        self.doubtful
            .iter()
            .filter(|(user, seq, _)| !came_back(user, *seq))
            .map(|(user, seq, _)| (*user, *seq))
            .collect()
    }

    /// Who participates after the last change.
    pub(crate) fn members(&self) -> Vec<u32> {
        let is_there = |stays: &Vec<Stay>| stays.last().is_some_and(|stay| stay.to.is_none());
        self.stays
            .iter()
            .filter(|(_, stays)| is_there(stays))
            .map(|(user, _)| *user)
            .collect()
    }
}
