//! What was seen of one conversation in one session: by seq where there is one, else by the numbers
//! of the sends. Pure.

use crate::load::order::{Line, Seen};

/// One of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tally {
    /// Messages have a seq: order is judged too.
    Seqs(Line),
    /// They have none: each once, in any order.
    Numbers(Numbers),
}

/// Numbers of sends that were seen, a bit for each: as many bytes as an eighth of the sends of the
/// run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    words: Vec<u64>,
    count: u64,
}

impl Tally {
    /// Takes a message or event; `number` is there when it is a message of this run.
    pub(crate) fn see(&mut self, seq: u64, number: Option<u64>) -> Seen {
        match (self, number) {
            (Self::Seqs(line), _) => line.see(seq),
            (Self::Numbers(numbers), Some(number)) => numbers.see(number),
            (Self::Numbers(_), None) => Seen::Before,
        }
    }

    /// How many never came, of all up to this seq, or of so many messages.
    pub(crate) fn missing(&self, of: u64) -> u64 {
        match self {
            Self::Seqs(line) => line.missing(of),
            Self::Numbers(numbers) => of.saturating_sub(numbers.count),
        }
    }

    /// The line, where there are seqs.
    pub(crate) fn line(&mut self) -> Option<&mut Line> {
        match self {
            Self::Seqs(line) => Some(line),
            Self::Numbers(_) => None,
        }
    }

    /// The seq that a session goes on behind.
    pub(crate) fn last(&self) -> u64 {
        match self {
            Self::Seqs(line) => line.last(),
            Self::Numbers(_) => 0,
        }
    }
}

impl Numbers {
    fn see(&mut self, number: u64) -> Seen {
        let Ok(word) = usize::try_from(number / 64) else {
            return Seen::Before;
        };
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }

        let Some(bits) = self.words.get_mut(word) else {
            return Seen::Before;
        };
        let bit = 1 << (number % 64);
        if *bits & bit != 0 {
            return Seen::Double;
        }
        *bits |= bit;

        self.count += 1;
        Seen::Next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_seqs_each_number_counts_once_in_any_order() {
        let mut tally = Tally::Numbers(Numbers::default());
        for number in [200, 0, 63, 64] {
            assert_eq!(tally.see(0, Some(number)), Seen::Next, "{number}");
        }
        assert_eq!(tally.see(0, Some(63)), Seen::Double);
        assert_eq!(
            tally.see(0, None),
            Seen::Before,
            "what is no message of this run"
        );
        assert_eq!((tally.missing(6), tally.missing(4)), (2, 0));
    }

    #[test]
    fn with_seqs_their_order_is_judged() {
        let mut tally = Tally::Seqs(Line::behind(1));
        assert_eq!(
            [2, 4, 3].map(|seq| tally.see(seq, None)),
            [Seen::Next, Seen::After(1), Seen::Late]
        );
        assert_eq!((tally.missing(5), tally.last()), (1, 4));
    }
}
