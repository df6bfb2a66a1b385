//! What waits to be written to one socket. Pure but for the writing itself, which takes what the
//! socket takes and never waits.
//!
//! **Invariants.** What is queued first is written first, each once. The node keeps within the
//! session's window, so no more than that waits here, beside pongs, which are bounded by not
//! reading on. Nothing follows the end.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;

use crate::problem::CloseCode;
use crate::router::sessions::frames;

/// Frames in one write.
const SLICES_MAX: usize = 64;
/// Bytes offered to the socket in one write, beside the last frame.
const WRITE_BYTES: usize = 64 * 1024;
/// An outbox that is empty keeps room for so many frames.
const KEPT_FRAMES: usize = 4;

/// How a socket ends: what is written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A Close frame of ours.
    Close(CloseCode),
    /// The answer to the client's Close.
    Answer(Option<u16>),
    /// Nothing: the peer is gone, or answers no ping.
    Drop,
}

/// What takes bytes without waiting.
pub(super) trait Sink {
    /// As [`tokio::net::tcp::OwnedWriteHalf::try_write_vectored`].
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

impl Sink for tokio::net::tcp::OwnedWriteHalf {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            // Most frames go alone, and the system needs less for a plain write.
            [one] => self.try_write(one),
            all => self.try_write_vectored(all),
        }
    }
}

/// A frame, and what it counts for.
#[derive(Debug)]
struct Queued {
    frame: Bytes,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A frame of the node, which is told that so much was taken.
    Delivered(u32),
    /// The answer to a ping.
    Pong,
    /// Another one of ours.
    Own,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Queued>,
    /// Bytes of the first frame that are written.
    written: usize,
    /// Bytes of pongs that wait.
    pongs: usize,
    end: Option<End>,
}

/// How writing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrote {
    /// Nothing waits any more.
    All,
    /// The socket takes no more now.
    Part,
    /// The peer is gone.
    Gone,
}

/// What writing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    /// How it went.
    pub(super) wrote: Wrote,
    /// What the frames counted for that the socket took whole.
    pub(super) taken: u32,
    /// How many frames that were, of all kinds.
    pub(super) frames: u64,
    /// In how many writes something was taken.
    pub(super) writes: u64,
}

impl Outbox {
    /// Queues a frame of the node.
    pub(super) fn deliver(&mut self, frame: Bytes, cost: u32) {
        self.queue(frame, Kind::Delivered(cost));
    }

    /// Queues the answer to a ping.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        let frame = frames::pong(payload);
        self.pongs += frame.len();
        self.queue(frame, Kind::Pong);
    }

    /// Queues a frame of our own.
    pub(super) fn own(&mut self, frame: Bytes) {
        self.queue(frame, Kind::Own);
    }

    fn queue(&mut self, frame: Bytes, kind: Kind) {
        if self.end.is_none() {
            self.frames.push_back(Queued { frame, kind });
        }
    }

    /// What waits counts for nothing any more: its node is lost.
    pub(super) fn forget_costs(&mut self) {
        for queued in &mut self.frames {
            if let Kind::Delivered(cost) = &mut queued.kind {
                *cost = 0;
            }
        }
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.frames
            .iter()
            .map(|queued| queued.frame.len())
            .sum::<usize>()
            .saturating_sub(self.written)
    }

    /// Ends the socket after what is queued; the first end stands. Of what goes to a slow consumer
    /// only a frame that was begun is still written, and nothing to one that is gone.
    pub(super) fn end(&mut self, end: End) {
        if self.end.is_some() {
            return;
        }
        match end {
            End::Drop => self.frames.clear(),
            End::Close(CloseCode::SlowConsumer) => {
                self.frames.truncate(usize::from(self.written > 0))
            }
            End::Close(_) | End::Answer(_) => {}
        }

        match end {
            End::Close(code) => self.own(frames::close(code)),
            End::Answer(code) => self.own(frames::close_answer(code)),
            End::Drop => {}
        }
        self.end = Some(end);
    }

    /// How it ends, if it does.
    pub(super) fn ends(&self) -> Option<End> {
        self.end
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes of pongs that wait.
    pub(super) fn pong_bytes(&self) -> usize {
        self.pongs
    }

    /// Writes what the socket takes now.
    pub(super) fn write(&mut self, to: &impl Sink) -> Written {
        let mut done = Written {
            wrote: Wrote::All,
            taken: 0,
            frames: 0,
            writes: 0,
        };

        while !self.frames.is_empty() {
            match self.write_once(to) {
                Ok(0) => {
                    done.wrote = Wrote::Gone;
                    return done;
                }
                Ok(count) => {
                    done.writes += 1;
                    self.advance(count, &mut done);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    done.wrote = Wrote::Part;
                    return done;
                }
                Err(_) => {
                    done.wrote = Wrote::Gone;
                    return done;
                }
            }
        }

        if self.frames.capacity() > KEPT_FRAMES {
            // An idle session keeps no room for the burst it once had.
            self.frames = VecDeque::new();
        }
        done
    }

    fn write_once(&self, to: &impl Sink) -> io::Result<usize> {
        const NOTHING: &[u8] = &[];
        let mut slices = [IoSlice::new(NOTHING); SLICES_MAX];
        let (mut count, mut bytes, mut skipped) = (0, 0, self.written);
        for (slice, queued) in slices.iter_mut().zip(&self.frames) {
            let rest = queued.frame.get(skipped..).unwrap_or_default();
            skipped = 0;
            *slice = IoSlice::new(rest);
            count += 1;
            bytes += rest.len();
            if bytes >= WRITE_BYTES {
                break;
            }
        }
        to.try_write(slices.get(..count).unwrap_or_default())
    }

    fn advance(&mut self, count: usize, done: &mut Written) {
        self.written += count;
        while let Some(first) = self
            .frames
            .front()
            .filter(|first| first.frame.len() <= self.written)
        {
            self.written -= first.frame.len();
            done.frames += 1;
            match first.kind {
                Kind::Delivered(cost) => done.taken = done.taken.saturating_add(cost),
                Kind::Pong => self.pongs = self.pongs.saturating_sub(first.frame.len()),
                Kind::Own => {}
            }
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// Takes so many bytes at once, and so many in all.
    #[derive(Default)]
    struct Pipe {
        taken: RefCell<Vec<u8>>,
        at_once: usize,
        left: Cell<usize>,
    }

    impl Sink for Pipe {
        fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let bytes: Vec<u8> = slices
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .collect();
            let count = bytes.len().min(self.at_once).min(self.left.get());
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.left.set(self.left.get() - count);
            self.taken.borrow_mut().extend_from_slice(&bytes[..count]);
            Ok(count)
        }
    }

    fn pipe(at_once: usize, left: usize) -> Pipe {
        Pipe {
            taken: RefCell::default(),
            at_once,
            left: Cell::new(left),
        }
    }

    #[test]
    fn everything_queued_leaves_in_one_write() {
        let (mut outbox, pipe) = (Outbox::default(), pipe(usize::MAX, usize::MAX));
        for word in ["a", "b", "c"] {
            outbox.deliver(frames::text(word.as_bytes()), 65);
        }
        let expected = Written {
            wrote: Wrote::All,
            taken: 3 * 65,
            frames: 3,
            writes: 1,
        };
        assert_eq!(outbox.write(&pipe), expected);
        assert_eq!(&pipe.taken.borrow()[..], b"\x81\x01a\x81\x01b\x81\x01c");
    }

    #[test]
    fn more_than_one_write_holds_goes_in_several_and_in_order() {
        let (mut outbox, pipe) = (Outbox::default(), pipe(1_000, usize::MAX));
        let mut expected = Vec::new();
        for number in 0..200_u8 {
            let frame = frames::text(&[number; 100]);
            expected.extend_from_slice(&frame);
            outbox.deliver(frame, 1);
        }

        let done = outbox.write(&pipe);
        assert_eq!(
            (done.wrote, done.taken, done.frames),
            (Wrote::All, 200, 200)
        );
        assert_eq!(*pipe.taken.borrow(), expected);
        assert!(
            outbox.frames.capacity() == 0,
            "an idle session keeps no room"
        );
    }

    #[test]
    fn a_frame_counts_as_taken_when_it_is_written_whole() {
        let (mut outbox, pipe) = (Outbox::default(), pipe(usize::MAX, 5));
        outbox.deliver(frames::text(b"one"), 67);
        outbox.deliver(frames::text(b"two"), 67);

        assert_eq!(
            outbox.write(&pipe),
            Written {
                wrote: Wrote::Part,
                taken: 67,
                frames: 1,
                writes: 1
            }
        );

        pipe.left.set(3);
        assert_eq!(outbox.write(&pipe).taken, 0);

        pipe.left.set(100);
        assert_eq!(
            outbox.write(&pipe),
            Written {
                wrote: Wrote::All,
                taken: 67,
                frames: 1,
                writes: 1
            }
        );
        assert_eq!(&pipe.taken.borrow()[..], b"\x81\x03one\x81\x03two");
    }

    #[test]
    fn the_end_comes_after_what_was_queued_and_nothing_follows_it() {
        let (mut outbox, pipe) = (Outbox::default(), pipe(usize::MAX, usize::MAX));
        outbox.deliver(frames::text(b"last"), 68);
        outbox.end(End::Answer(None));
        outbox.end(End::Drop);
        outbox.deliver(frames::text(b"late"), 68);
        outbox.write(&pipe);
        assert_eq!(&pipe.taken.borrow()[..], b"\x81\x04last\x88\0");
        assert_eq!(
            outbox.ends(),
            Some(End::Answer(None)),
            "the first end stands"
        );
    }

    #[test]
    fn a_slow_consumer_gets_the_frame_that_was_begun_and_the_close() {
        let (mut outbox, pipe) = (Outbox::default(), pipe(usize::MAX, 3));
        outbox.deliver(frames::text(b"one"), 67);
        outbox.deliver(frames::text(b"two"), 67);
        outbox.write(&pipe);
        outbox.end(End::Close(CloseCode::SlowConsumer));
        pipe.left.set(100);
        outbox.write(&pipe);
        let expected = [&b"\x81\x03one"[..], &frames::close(CloseCode::SlowConsumer)].concat();
        assert_eq!(*pipe.taken.borrow(), expected);
    }

    #[test]
    fn pongs_that_wait_are_counted() {
        let (mut outbox, pipe) = (Outbox::default(), pipe(usize::MAX, 0));
        outbox.pong(b"x");
        outbox.pong(b"y");
        outbox.write(&pipe);
        assert_eq!(outbox.pong_bytes(), 6);
        pipe.left.set(3);
        outbox.write(&pipe);
        assert_eq!(outbox.pong_bytes(), 3);
    }
}
