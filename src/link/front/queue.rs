//! What waits for one end of a connection: frames in their order, bounded by their bytes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Frames in their order, until they are taken. Whoever puts them in never waits.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    /// Wakes the one that takes.
    filled: Notify,
    /// Wakes those that wait for space.
    freed: Notify,
    bytes_max: usize,
    reserve: usize,
}

struct State<T> {
    /// `None` in the place of a frame that was taken back.
    frames: VecDeque<Option<(T, usize)>>,
    /// How many were taken before the first of them.
    taken: u64,
    bytes: usize,
    closed: bool,
    /// Somebody found no space since there was some last.
    short: bool,
}

/// Why a frame was not put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Too many bytes wait.
    Full,
    /// The connection has ended.
    Closed,
}

/// Which bound a frame keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The one for all.
    All,
    /// A little more, for what says how things stand.
    Reserve,
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Queue")
            .field("frames", &state.frames.len())
            .field("bytes", &state.bytes)
            .finish_non_exhaustive()
    }
}

impl<T> Queue<T> {
    /// An empty one. `bytes_max` for all frames, and `reserve` more for those of
    /// [`Bound::Reserve`].
    #[must_use]
    pub fn new(bytes_max: usize, reserve: usize) -> Self {
        let state = State {
            frames: VecDeque::new(),
            taken: 0,
            bytes: 0,
            closed: false,
            short: false,
        };
        Self {
            state: Mutex::new(state),
            filled: Notify::new(),
            freed: Notify::new(),
            bytes_max,
            reserve,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a frame behind all others. Tells its place.
    ///
    /// # Errors
    /// [`Refused`], and the frame is dropped.
    pub fn put(&self, frame: T, weight: usize, bound: Bound) -> Result<u64, Refused> {
        self.put_or_return(frame, weight, bound)
            .map_err(|(refused, _frame)| refused)
    }

    /// Puts a frame behind all others. Tells its place.
    ///
    /// # Errors
    /// [`Refused`], with the frame.
    pub fn put_or_return(
        &self,
        frame: T,
        weight: usize,
        bound: Bound,
    ) -> Result<u64, (Refused, T)> {
        let most = match bound {
            Bound::All => self.bytes_max,
            Bound::Reserve => self.bytes_max.saturating_add(self.reserve),
        };

        let mut state = self.state();
        if state.closed {
            return Err((Refused::Closed, frame));
        }
        if state.bytes.saturating_add(weight) > most {
            state.short = true;
            return Err((Refused::Full, frame));
        }

        state.bytes += weight;
        state.frames.push_back(Some((frame, weight)));
        let place = state
            .taken
            .saturating_add(u64::try_from(state.frames.len()).unwrap_or(u64::MAX))
            - 1;
        let first = state.frames.len() == 1;
        drop(state);
        if first {
            self.filled.notify_one();
        }

        Ok(place)
    }

    /// Takes the frame at this place back. False when it was taken before.
    pub fn withdraw(&self, place: u64) -> bool {
        let mut state = self.state();
        let Some(at) = place
            .checked_sub(state.taken)
            .and_then(|at| usize::try_from(at).ok())
        else {
            return false;
        };
        let Some((_, weight)) = state.frames.get_mut(at).and_then(Option::take) else {
            return false;
        };
        state.bytes -= weight;
        true
    }

    /// Whether the frame at this place was taken.
    #[must_use]
    pub fn is_taken(&self, place: u64) -> bool {
        place < self.state().taken
    }

    /// True while an ordinary frame of some size finds space.
    #[must_use]
    pub fn has_space(&self) -> bool {
        let mut state = self.state();
        let has = !state.closed && state.bytes < self.bytes_max;
        state.short |= !has;
        has
    }

    /// True while fewer bytes than these wait.
    #[must_use]
    pub fn has_less_than(&self, bytes: usize) -> bool {
        let state = self.state();
        !state.closed && state.bytes < bytes
    }

    /// Waits until half of the bytes are free, or the queue is closed. Cancel-safe.
    pub async fn until_space(&self) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            {
                let mut state = self.state();
                if state.closed || state.bytes <= self.bytes_max / 2 {
                    return;
                }
                state.short = true;
            }
            freed.await;
        }
    }

    /// Waits until something is to be taken, or the queue is closed. Cancel-safe.
    pub async fn until_filled(&self) {
        loop {
            {
                let state = self.state();
                if state.closed || !state.frames.is_empty() {
                    return;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Takes frames up to about so many bytes, one at least; waits for the first. `None` when the
    /// queue is closed and all were taken. Cancel-safe; for one at a time.
    pub async fn take(&self, bytes: usize) -> Option<Vec<T>> {
        loop {
            self.until_filled().await;
            let mut state = self.state();
            let mut taken = Vec::with_capacity(state.frames.len().min(256));
            let mut left = bytes;
            while left > 0
                && let Some(frame) = state.frames.pop_front()
            {
                state.taken += 1;
                if let Some((frame, weight)) = frame {
                    state.bytes -= weight;
                    left = left.saturating_sub(weight);
                    taken.push(frame);
                }
            }
            let freed = state.short && state.bytes <= self.bytes_max / 2;
            if freed {
                state.short = false;
            }
            let closed = state.closed && state.frames.is_empty();
            drop(state);
            if freed {
                self.freed.notify_waiters();
            }
            if !taken.is_empty() {
                return Some(taken);
            }
            if closed {
                return None;
            }
        }
    }

    /// Takes no more. What is there is still given out.
    pub fn close(&self) {
        self.state().closed = true;
        self.filled.notify_one();
        self.freed.notify_waiters();
    }

    /// True once it is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Waits until it is closed. Cancel-safe.
    pub async fn closed(&self) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.state().closed {
                return;
            }
            freed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_taken_in_their_order_and_some_at_a_time() {
        let queue = Queue::new(100, 0);
        for number in 0..5 {
            queue.put(number, 10, Bound::All).expect("space");
        }
        assert_eq!(queue.take(20).await, Some(vec![0, 1]));
        assert_eq!(queue.take(1).await, Some(vec![2]));
        queue.close();
        assert_eq!(queue.put(9, 1, Bound::All), Err(Refused::Closed));
        assert_eq!(queue.take(100).await, Some(vec![3, 4]));
        assert_eq!(queue.take(100).await, None);
    }

    #[tokio::test]
    async fn it_is_full_by_bytes_and_keeps_a_reserve() {
        let queue = Queue::new(20, 10);
        queue.put('a', 20, Bound::All).expect("space");
        assert_eq!(
            (queue.put('b', 1, Bound::All), queue.has_space()),
            (Err(Refused::Full), false)
        );
        assert_eq!(
            (queue.has_less_than(20), queue.has_less_than(21)),
            (false, true)
        );
        queue.put('c', 10, Bound::Reserve).expect("the reserve");
        assert_eq!(queue.put('d', 1, Bound::Reserve), Err(Refused::Full));
        assert_eq!(queue.take(1).await, Some(vec!['a']));
        queue.until_space().await;
        queue.put('e', 10, Bound::All).expect("space again");
    }

    #[tokio::test]
    async fn what_was_taken_back_is_never_given_out_and_what_was_taken_is_not_taken_back() {
        let queue = Queue::new(100, 0);
        let places: Vec<u64> = (0..3)
            .map(|number| queue.put(number, 10, Bound::All).expect("space"))
            .collect();
        assert!(queue.withdraw(places[1]) && !queue.withdraw(places[1]));
        assert_eq!(queue.take(100).await, Some(vec![0, 2]));
        assert!(
            places
                .iter()
                .all(|place| queue.is_taken(*place) && !queue.withdraw(*place))
        );
        assert!(!queue.is_taken(queue.put(3, 10, Bound::All).expect("space")));
    }

    #[tokio::test]
    async fn who_waits_for_space_is_woken_when_half_of_it_is_free() {
        let queue = Queue::new(30, 0);
        for number in 0..3 {
            queue.put(number, 10, Bound::All).expect("space");
        }
        let mut waiting = std::pin::pin!(queue.until_space());
        let polled =
            |future: std::pin::Pin<&mut _>| futures_util::FutureExt::now_or_never(future).is_some();
        assert!(!polled(waiting.as_mut()));
        queue.take(1).await.expect("one");
        assert!(!polled(waiting.as_mut()), "20 of 30 wait");
        queue.take(1).await.expect("one");
        assert!(polled(waiting.as_mut()));
    }
}
