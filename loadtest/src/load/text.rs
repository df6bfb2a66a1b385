//! The text of a message: its number and when it was due stand in it, so that whoever receives it
//! knows its latency, and its history can be compared with what was sent.

use bytes::Bytes;

/// Every text begins so; other messages are not ours.
const MARK: &str = "lt ";
/// Shortest text that has room for both numbers.
pub(crate) const BYTES_MIN: usize = 40;
/// Longest text; the contract's limit.
pub(crate) const BYTES_MAX: usize = 16_384;

/// What stands in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Number of the send within the run.
    pub(crate) number: u64,
    /// When it was due, in microseconds since the run began.
    pub(crate) due_us: u64,
}

impl Stamp {
    /// The body of a send whose text has so many bytes.
    pub(crate) fn body(self, bytes: usize) -> Bytes {
        let text = self.text(bytes);
        // Nothing in it needs escaping.
        Bytes::from(format!(r#"{{"text":"{text}"}}"#))
    }

    /// The text, filled up to so many bytes.
    pub(crate) fn text(self, bytes: usize) -> String {
        let mut text = format!("{MARK}{:x} {:x} ", self.number, self.due_us);
        let missing = bytes.saturating_sub(text.len());
        text.extend(std::iter::repeat_n('x', missing));
        text
    }

    /// Reads a text; `None` when it is not of a load test.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut words = text.strip_prefix(MARK)?.split(' ');
        let mut number = || u64::from_str_radix(words.next()?, 16).ok();
        Some(Self {
            number: number()?,
            due_us: number()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_stamp_comes_back_from_its_text(number in 0_u64..1 << 48, due_us in 0_u64..1 << 48, bytes in BYTES_MIN..2_000) {
            let stamp = Stamp { number, due_us };
            prop_assert_eq!(Stamp::read(&stamp.text(bytes)), Some(stamp));
            prop_assert_eq!(stamp.text(bytes).len(), bytes);
            let body: serde_json::Value = serde_json::from_slice(&stamp.body(bytes)).unwrap();
            prop_assert_eq!(body["text"].as_str().unwrap(), stamp.text(bytes));
        }
    }

    #[test]
    fn the_texts_of_others_are_none_of_ours() {
        for text in ["", "hello", "lt ", "lt 5", "lt x y z"] {
            assert_eq!(Stamp::read(text), None, "{text}");
        }
    }
}
