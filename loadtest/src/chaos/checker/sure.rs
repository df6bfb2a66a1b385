//! What is surely known of one user's membership: only what was answered, and only while nothing
//! else is under way.

use crate::chaos::history::Micros;

/// Whether a user participates, as far as answers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sure {
    /// Nothing is sure.
    #[default]
    No,
    /// In since then.
    In(Micros),
    /// Out since then.
    Out(Micros),
    /// An attempt of unknown outcome may be done at any time.
    Never,
}

impl Sure {
    /// An operation on a user is about to be asked for: unless it changes nothing, nobody can be
    /// sure.
    pub(crate) fn begin(&mut self, adds: bool) {
        if !matches!(
            (*self, adds),
            (Self::Never, _) | (Self::In(_), true) | (Self::Out(_), false)
        ) {
            *self = Self::No;
        }
    }

    /// It was done. After an attempt of unknown outcome nothing is sure any more: that may be done
    /// later.
    pub(crate) fn done(&mut self, adds: bool, at: Micros, clean: bool) {
        match (*self, adds) {
            (Self::Never, _) | (Self::In(_), true) | (Self::Out(_), false) if clean => {}
            _ if !clean => *self = Self::Never,
            (_, true) => *self = Self::In(at),
            (_, false) => *self = Self::Out(at),
        }
    }

    /// What put it in doubt was surely not done.
    pub(crate) fn restore(&mut self, since: Micros) {
        if *self == Self::No {
            *self = Self::In(since);
        }
    }

    /// In, all the time since before that moment.
    pub(crate) fn in_before(self, moment: Micros) -> bool {
        matches!(self, Self::In(since) if since < moment)
    }

    /// Out, all the time since before that moment.
    pub(crate) fn out_before(self, moment: Micros) -> bool {
        matches!(self, Self::Out(since) if since < moment)
    }
}
