//! The records around something that is wrong.

use crate::chaos::history::{Item, Record};

/// What is looked for: a conversation, some of its seqs, some operations, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// The conversation.
    pub(crate) conversation: Option<u32>,
    /// The seqs, first and last.
    pub(crate) seqs: Option<(u64, u64)>,
    /// The operation.
    pub(crate) op: Option<u64>,
    /// The session.
    pub(crate) session: Option<u64>,
    /// The user whose lists are looked for.
    pub(crate) user: Option<u32>,
}

impl Span {
    /// A whole conversation.
    pub(crate) fn of(conversation: u32) -> Self {
        Self {
            conversation: Some(conversation),
            ..Self::default()
        }
    }

    /// Around one seq of it.
    pub(crate) fn at(conversation: u32, seq: u64) -> Self {
        Self {
            seqs: Some((seq.saturating_sub(1), seq + 1)),
            ..Self::of(conversation)
        }
    }

    /// With this operation.
    pub(crate) fn and_op(self, op: u64) -> Self {
        Self {
            op: Some(op),
            ..self
        }
    }

    /// With this session.
    pub(crate) fn and_session(self, session: u64) -> Self {
        Self {
            session: Some(session),
            ..self
        }
    }

    /// With the lists of this user.
    pub(crate) fn and_lists_of(self, user: u32) -> Self {
        Self {
            user: Some(user),
            ..self
        }
    }

    /// Whether a record has to do with it.
    pub(crate) fn concerns(&self, record: &Record) -> bool {
        let items = |conversation: &u32, items: &[Item]| {
            Some(*conversation) == self.conversation && items.iter().any(|item| self.has(item.seq))
        };
        match record {
            Record::Fault { .. }
            | Record::Gone { .. }
            | Record::Back { .. }
            | Record::Backup { .. } => true,
            Record::Begun { op, .. }
            | Record::Ended { op, .. }
            | Record::Framed { op, .. }
            | Record::Rivals { op, .. }
            | Record::Again { op, .. } => Some(*op) == self.op,
            Record::Listed { user, .. } => Some(*user) == self.user,
            Record::Page {
                read, items: some, ..
            }
            | Record::Newest { read, items: some }
            | Record::Some { read, items: some } => items(&read.conversation, some),
            Record::Frames {
                conversation,
                items: some,
                ..
            }
            | Record::Restored {
                conversation,
                items: some,
                ..
            } => items(conversation, some),
            Record::Shown { read, .. }
            | Record::Marks { read, .. }
            | Record::Reaction { read, .. }
            | Record::Refused { read } => {
                Some(read.conversation) == self.conversation && self.seqs.is_none()
            }
            Record::Gap { conversation, .. }
            | Record::Counted { conversation, .. }
            | Record::Final { conversation, .. } => Some(*conversation) == self.conversation,
            Record::Opened { session, .. }
            | Record::Ready { session, .. }
            | Record::Deafened { session, .. }
            | Record::Closed { session, .. }
            | Record::Live { session, .. } => Some(*session) == self.session,
            Record::Wrong { conversation, .. } => *conversation == self.conversation,
        }
    }

    fn has(&self, seq: u64) -> bool {
        self.seqs
            .is_none_or(|(first, last)| (first..=last).contains(&seq))
    }
}
