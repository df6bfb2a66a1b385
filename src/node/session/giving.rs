//! What a session is given: each frame takes its place in the window, and goes over the link with
//! what it says of the session.

use bytes::Bytes;

use crate::ids::{ConversationName, Seq};
use crate::link::front::attach::{Stand, Tells};
use crate::link::front::{self, Down};
use crate::node::session::board::state::Gap;
use crate::node::session::post::Mark;
use crate::node::session::said::Number;
use crate::node::session::window::{Owed, Session};
use crate::protocol::GapReason;
use crate::protocol::ServerFrame;
use crate::telemetry;

impl Session {
    /// Sends the answer to a message, in the room that it has.
    pub(super) fn answer_frame(&self, frame: &ServerFrame<'_>, mut owed: Owed, number: Number) {
        let text = Bytes::from(frame.encode());
        let cost = front::cost(text.len());
        {
            let mut window = self.window();
            if window.has_ended {
                return;
            }
            // It mostly takes less than was thought; what is left is room for others.
            let kept = usize::try_from(cost).ok().and_then(|cost| owed.split(cost));
            window.add(cost, Some(kept.unwrap_or(owed)));
        }
        self.give_surely(text, number.tells());
    }

    /// A message was worked on, and has no answer.
    pub(super) fn answered(&self, number: Number) {
        let tells = number.tells();
        if self.is_followed && !tells.is_nothing() && !self.window().has_ended {
            self.router.offer(Down::Answered {
                session: self.number,
                tells,
            });
        }
    }

    /// Sends a frame of the contract.
    pub(super) fn offer_frame(&self, frame: &ServerFrame<'_>) {
        self.offer_telling(frame, Tells::Nothing);
    }

    /// Sends a frame of the contract that says something of the session.
    pub(super) fn offer_telling(&self, frame: &ServerFrame<'_>, tells: Tells) {
        let text = Bytes::from(frame.encode());
        if !self.takes_place(front::cost(text.len())) {
            return;
        }
        self.give_surely(text, tells);
    }

    /// So much more is on its way; false when the session has ended, and nothing is sent.
    fn takes_place(&self, cost: u32) -> bool {
        let mut window = self.window();
        if !window.has_ended {
            window.add(cost, None);
        }
        !window.has_ended
    }

    /// Tells of a gap, after which the session stands at this seq in the conversation.
    pub(super) fn offer_gap(
        &self,
        frame: &ServerFrame<'_>,
        conversation: &ConversationName,
        seq: Seq,
    ) {
        let text = Bytes::from(frame.encode());
        if !self.takes_place(front::cost(text.len())) {
            return;
        }

        let event = self.router.handle(conversation).map(|handle| (handle, seq));
        let tells = if self.is_followed {
            Tells::Stand(Stand::at(seq))
        } else {
            Tells::Nothing
        };

        let (to, quiet) = (Vec::new(), vec![self.number]);
        if !self.router.offer(Down::Deliver {
            to,
            quiet,
            text,
            event,
            tells,
        }) {
            self.router.lost(self.id);
        }
    }

    /// Sends an event to this session alone, after which it stands as `stand` says, if that is not
    /// plain; false when the link has no room for it.
    pub(super) fn offer_event(
        &self,
        text: Bytes,
        mark: Option<Mark<'_>>,
        stand: Option<Stand>,
    ) -> bool {
        let cost = front::cost(text.len());
        if !self.takes_place(cost) {
            return true;
        }
        let given = self.give(text, mark, stand.map_or(Tells::Nothing, Tells::Stand));
        if !given {
            self.take_back(cost);
        }
        given
    }

    /// Sends a frame that has its place; false when the link has no room for it.
    pub(super) fn give(&self, text: Bytes, mark: Option<Mark<'_>>, tells: Tells) -> bool {
        let (event, is_quiet) = mark.map_or((None, false), |mark| {
            (
                self.router
                    .handle(mark.conversation)
                    .map(|handle| (handle, mark.seq)),
                !mark.counts_for(&self.user),
            )
        });
        let (to, quiet) = if is_quiet {
            (Vec::new(), vec![self.number])
        } else {
            (vec![self.number], Vec::new())
        };

        let tells = if self.is_followed {
            tells
        } else {
            Tells::Nothing
        };

        self.router.offer(Down::Deliver {
            to,
            quiet,
            text,
            event,
            tells,
        })
    }

    /// Sends what may not be missing: a session whose link has no room even for that is ended as a
    /// slow one.
    fn give_surely(&self, text: Bytes, tells: Tells) {
        if !self.give(text, None, tells) {
            self.router.lost(self.id);
        }
    }

    /// Tells of a gap, if there is one.
    pub(super) fn tell_gap(&self, conversation: &ConversationName, gap: Option<Gap>) {
        let Some(Gap { from, to, reason }) = gap else {
            return;
        };
        let label = match reason {
            GapReason::TooFar => "too_far",
            GapReason::Replaced => "replaced",
            GapReason::NotParticipant => "not_participant",
            GapReason::Closed => "closed",
            GapReason::Pruned => "pruned",
        };
        telemetry::SESSION_GAPS.add(1, &[("reason", label)]);

        let frame = ServerFrame::Gap {
            conversation,
            from,
            to,
            reason,
        };
        match reason {
            GapReason::TooFar | GapReason::Closed | GapReason::Pruned => {
                self.offer_gap(&frame, conversation, to)
            }
            GapReason::Replaced => {
                self.offer_gap(&frame, conversation, Seq(from.0.saturating_sub(1)))
            }
            // It says what is not given, and the cursor ends.
            GapReason::NotParticipant => self.offer_frame(&frame),
        }
    }
}
