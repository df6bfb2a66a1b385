//! The two streams of a shard, and a value for each of them.

use std::ops::{Index, IndexMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which of a shard's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stream {
    /// Every durable change of conversations and of users' indexes.
    Messages,
    /// Watermarks and reactions.
    Receipts,
}

impl Stream {
    /// Both, in the order of [`PerStream`].
    pub const BOTH: [Self; 2] = [Self::Messages, Self::Receipts];

    /// The word for it in keys, labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Receipts => "receipts",
        }
    }
}

/// One value for each of a shard's two streams, found by its [`Stream`]. Iterators go through the
/// messages stream first.
///
/// It is written to links and answers as an array of two, messages first; that form is part of the
/// peer contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PerStream<T> {
    /// The value of the messages stream.
    pub messages: T,
    /// The value of the receipts stream.
    pub receipts: T,
}

impl<T> PerStream<T> {
    /// Makes the value of each stream, first that of the messages stream.
    pub fn from_fn(mut make: impl FnMut(Stream) -> T) -> Self {
        Self {
            messages: make(Stream::Messages),
            receipts: make(Stream::Receipts),
        }
    }

    /// Returns the same value for both streams.
    #[must_use]
    pub fn both(value: T) -> Self
    where
        T: Clone,
    {
        Self {
            messages: value.clone(),
            receipts: value,
        }
    }

    /// Borrows the value of each stream.
    #[must_use]
    pub fn each_ref(&self) -> PerStream<&T> {
        PerStream {
            messages: &self.messages,
            receipts: &self.receipts,
        }
    }

    /// Changes the value of each stream into another one.
    #[must_use]
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> PerStream<U> {
        PerStream {
            messages: change(self.messages),
            receipts: change(self.receipts),
        }
    }

    /// Pairs the values of each stream.
    #[must_use]
    pub fn zip<U>(self, other: PerStream<U>) -> PerStream<(T, U)> {
        PerStream {
            messages: (self.messages, other.messages),
            receipts: (self.receipts, other.receipts),
        }
    }

    /// Returns whether the claim holds for the value of either stream.
    pub fn all(self, mut claim: impl FnMut(T) -> bool) -> bool {
        claim(self.messages) && claim(self.receipts)
    }

    /// Goes through the streams and their values.
    pub fn iter(&self) -> impl Iterator<Item = (Stream, &T)> {
        self.each_ref().into_iter()
    }

    /// Goes through the streams and their values, which may be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Stream, &mut T)> {
        PerStream {
            messages: &mut self.messages,
            receipts: &mut self.receipts,
        }
        .into_iter()
    }
}

impl<T> Index<Stream> for PerStream<T> {
    type Output = T;

    fn index(&self, stream: Stream) -> &T {
        match stream {
            Stream::Messages => &self.messages,
            Stream::Receipts => &self.receipts,
        }
    }
}

impl<T> IndexMut<Stream> for PerStream<T> {
    fn index_mut(&mut self, stream: Stream) -> &mut T {
        match stream {
            Stream::Messages => &mut self.messages,
            Stream::Receipts => &mut self.receipts,
        }
    }
}

impl<T> IntoIterator for PerStream<T> {
    type Item = (Stream, T);
    type IntoIter = std::array::IntoIter<(Stream, T), 2>;

    fn into_iter(self) -> Self::IntoIter {
        [
            (Stream::Messages, self.messages),
            (Stream::Receipts, self.receipts),
        ]
        .into_iter()
    }
}

impl<T: Serialize> Serialize for PerStream<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [&self.messages, &self.receipts].serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for PerStream<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [messages, receipts] = <[T; 2]>::deserialize(deserializer)?;
        Ok(Self { messages, receipts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_and_changed_by_its_stream() {
        let mut counts = PerStream {
            messages: 1,
            receipts: 2,
        };
        assert_eq!((counts[Stream::Messages], counts[Stream::Receipts]), (1, 2));

        counts[Stream::Receipts] = 5;
        for (stream, count) in counts.iter_mut() {
            *count += if stream == Stream::Messages { 10 } else { 20 };
        }

        assert_eq!(
            counts,
            PerStream {
                messages: 11,
                receipts: 25
            }
        );
    }

    #[test]
    fn everything_is_made_and_gone_through_with_the_messages_first() {
        let mut made = Vec::new();
        let names = PerStream::from_fn(|stream| {
            made.push(stream);
            stream.as_str()
        });
        assert_eq!(made, Stream::BOTH);
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            Stream::BOTH.map(|stream| (stream, stream.as_str()))
        );
        assert!(names.iter().map(|(stream, name)| (stream, *name)).eq(names));
    }

    #[test]
    fn values_of_one_stream_never_meet_those_of_the_other() {
        let (low, high) = (
            PerStream {
                messages: 1,
                receipts: 10,
            },
            PerStream {
                messages: 2,
                receipts: 10,
            },
        );

        assert_eq!(
            low.zip(high).map(|(a, b)| b - a),
            PerStream {
                messages: 1,
                receipts: 0
            }
        );

        assert!(low.zip(high).all(|(a, b)| a <= b));
        assert!(
            !low.zip(high).all(|(a, b)| a < b) && !high.zip(low).all(|(a, b)| a <= b),
            "in either stream"
        );
        assert_eq!(
            PerStream::both(7),
            PerStream {
                messages: 7,
                receipts: 7
            }
        );
    }

    #[test]
    fn it_is_written_as_an_array_of_two_and_read_from_one() {
        let written = PerStream {
            messages: 3_u64,
            receipts: 400,
        };

        assert_eq!(serde_json::to_string(&written).unwrap(), "[3,400]");
        assert_eq!(
            serde_json::from_str::<PerStream<u64>>("[3,400]").unwrap(),
            written
        );

        let bytes = rmp_serde::to_vec_named(&written).unwrap();
        assert_eq!(bytes, rmp_serde::to_vec_named(&[3_u64, 400]).unwrap());
        assert_eq!(
            rmp_serde::from_slice::<PerStream<u64>>(&bytes).unwrap(),
            written
        );

        for wrong in ["[3]", "[3,400,5]", "{\"messages\":3,\"receipts\":400}"] {
            assert!(
                serde_json::from_str::<PerStream<u64>>(wrong).is_err(),
                "{wrong}"
            );
        }
    }
}
