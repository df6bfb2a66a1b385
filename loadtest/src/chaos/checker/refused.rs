//! A refusal stands: whoever was told that they do not participate is out until they are let in
//! again. So a message that was asked for after such an answer is in no stay that was there before
//! the question; if it is, the refusal rested on a removal that was done only later, or never.

use std::collections::HashMap;

use crate::chaos::history::Micros;

/// Refusals of one user that are kept. Further ones of the same stay are not: then a breach may
/// pass, and none is made up.
const KEPT_MAX: usize = 64;

/// When users of one conversation were refused, since they came in last; and who was served after
/// that all the same.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// By user: when it was asked for, and when it was answered.
    answers: HashMap<u32, Vec<(Micros, Micros)>>,
    /// Users, and the seqs of messages that should not be there.
    served: Vec<(u32, u64)>,
}

impl Refused {
    /// They were told that they do not participate.
    pub(crate) fn refused(&mut self, user: u32, begun: Micros, at: Micros) {
        let answers = self.answers.entry(user).or_default();
        if answers.len() < KEPT_MAX {
            answers.push((begun, at));
        }
    }

    /// They come in, and somebody saw that at that moment: what was asked for before says nothing
    /// of this stay.
    pub(crate) fn enters(&mut self, user: u32, seen: Micros) {
        if let Some(answers) = self.answers.get_mut(&user) {
            answers.retain(|(begun, _)| *begun > seen);
        }
    }

    /// A message of theirs, asked for at `begun`, is in a stay whose beginning was seen at `since`.
    pub(crate) fn served(&mut self, user: u32, seq: u64, since: Option<Micros>, begun: Micros) {
        let (Some(answers), Some(since)) = (self.answers.get(&user), since) else {
            return;
        };
        if answers
            .iter()
            .any(|(asked, at)| *asked > since && *at < begun)
        {
            self.served.push((user, seq));
        }
    }

    /// Who was served though they had been refused, since this was asked last.
    pub(crate) fn take_served(&mut self) -> Vec<(u32, u64)> {
        std::mem::take(&mut self.served)
    }
}
