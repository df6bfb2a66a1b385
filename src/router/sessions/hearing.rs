//! What has been heard of one client, and how much more may be: what is read is taken in frame by
//! frame, and no further while too much of it waits.
//!
//! **Invariant.** What was read is taken in once and in order; what may not be taken in yet is
//! kept, and nothing more is read.

use std::time::Instant;

use bytes::Bytes;

use crate::link::front::Terms;
use crate::problem::CloseCode;
use crate::router::sessions::allowance::Allowance;
use crate::router::sessions::frames::{Heard, Reader};
use crate::router::sessions::outbox::End;
use crate::router::sessions::socket::Socket;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Hearing {
    reader: Reader,
    allowance: Allowance,
    /// Read, and not looked at while nothing may be taken in.
    rest: Bytes,
    /// The client sends nothing more.
    pub(super) is_closed: bool,
    /// What follows is of no interest.
    is_broken: bool,
}

impl Hearing {
    /// Nothing was heard but what was read beyond the request.
    pub(super) fn new(terms: &Terms, first: Bytes) -> Self {
        let allowance = Allowance::new(terms.frames_per_second, Instant::now());
        Self {
            reader: Reader::default(),
            allowance,
            rest: first,
            is_closed: false,
            is_broken: false,
        }
    }

    /// Takes in what was left, as far as it may.
    pub(super) fn hear_rest(&mut self, socket: &Socket) {
        if !self.rest.is_empty() && !socket.is_full() {
            let rest = std::mem::take(&mut self.rest);
            self.hear(socket, &rest);
        }
    }

    /// Takes in what was read; the rest is kept when no more may be taken in.
    pub(super) fn hear(&mut self, socket: &Socket, mut bytes: &[u8]) {
        while !self.is_broken && !self.is_closed && !bytes.is_empty() {
            if socket.is_full() {
                self.rest = Bytes::copy_from_slice(bytes);
                return;
            }
            let next = self.reader.next(&mut bytes);
            let is_ending = socket.is_ending();
            match next {
                Ok(Some(frame)) => {
                    let is_close = matches!(frame, Heard::Close(_));
                    self.is_closed |= is_close;
                    if is_ending && !is_close {
                        continue;
                    }
                    let text = if let Heard::Text(text) = &frame {
                        Some(text.as_ref())
                    } else {
                        None
                    };
                    if self.allowance.take(text, Instant::now()) {
                        socket.heard(frame);
                    } else {
                        self.give_up(socket, CloseCode::TooMany);
                    }
                }
                Ok(None) => return,
                Err(code) => self.give_up(socket, code),
            }
        }
    }

    fn give_up(&mut self, socket: &Socket, code: CloseCode) {
        self.is_broken = true;
        socket.end(End::Close(code));
    }
}
