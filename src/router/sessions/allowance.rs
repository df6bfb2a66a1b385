//! Pure: how many frames a client may send.

use std::time::Instant;

/// A burst of so many seconds of the rate is taken.
const BURST_SECONDS: f64 = 4.0;
/// So many `typing` frames a second do not count.
const TYPING_PER_SECOND: f64 = 100.0;
/// A frame that is longer is no `typing`.
const TYPING_BYTES_MAX: usize = 512;
/// What every `typing` frame has in it.
const TYPING: &[u8] = b"\"typing\"";

/// Token buckets over client frames: a rate, and four seconds of it as a burst; and one beside it
/// for frames that tell who types.
#[derive(Debug)]
pub(super) struct Allowance {
    per_second: f64,
    left: f64,
    typing: f64,
    at: Instant,
}

impl Allowance {
    /// Full buckets.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self {
            per_second,
            left: per_second * BURST_SECONDS,
            typing: TYPING_PER_SECOND * BURST_SECONDS,
            at: now,
        }
    }

    /// Takes one frame in, of this text if it has one; false when it is one too many. Whether it is
    /// a `typing` frame is told by a look at it, which errs in favour of the client.
    pub(super) fn take(&mut self, text: Option<&[u8]>, now: Instant) -> bool {
        let passed = now.duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * self.per_second).min(self.per_second * BURST_SECONDS);
        self.typing =
            (self.typing + passed * TYPING_PER_SECOND).min(TYPING_PER_SECOND * BURST_SECONDS);

        if self.typing >= 1.0 && text.is_some_and(is_typing) {
            self.typing -= 1.0;
            return true;
        }
        self.left -= 1.0;
        self.left >= 0.0
    }
}

fn is_typing(text: &[u8]) -> bool {
    text.len() <= TYPING_BYTES_MAX && text.windows(TYPING.len()).any(|part| part == TYPING)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_the_rate() {
        let start = Instant::now();
        let mut allowance = Allowance::new(10, start);
        assert_eq!((0..100).filter(|_| allowance.take(None, start)).count(), 40);
        let mut steady = Allowance::new(10, start);
        let taken = (0..1_000)
            .filter(|tenth| steady.take(None, start + Duration::from_millis(100) * *tenth))
            .count();
        assert_eq!(taken, 1_000, "the rate itself is always taken");
    }

    #[test]
    fn frames_that_tell_who_types_do_not_count_as_long_as_they_are_not_too_many() {
        let start = Instant::now();
        let typing: &[u8] = br#"{"t": "typing", "conversation": "c", "on": true}"#;
        let mut allowance = Allowance::new(10, start);

        assert_eq!(
            (0..1_000)
                .filter(|_| allowance.take(Some(typing), start))
                .count(),
            400 + 40
        );

        let mut others = Allowance::new(10, start);
        assert!((0..100).all(|_| others.take(Some(typing), start)));

        let send: &[u8] = br#"{"t":"send","conversation":"c","text":"\"typing\" is a word"}"#;
        assert_eq!(
            (0..100).filter(|_| others.take(Some(send), start)).count(),
            40
        );
    }
}
