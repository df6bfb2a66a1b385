//! Who types: what clients say of it goes to the owner of the conversation, at a pace, and what
//! owners tell goes to the sessions of the others that have room to spare. All of it may be
//! missing, and nothing waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use crate::ids::{ConversationName, Seq, UserId};
use crate::node::session::board::Board;
use crate::node::session::board::state::Cursor;
use crate::node::session::commands::{Asked, NOTHING, answer, conversation_name};
use crate::node::session::hub::Inner;
use crate::node::session::post::Post;
use crate::node::session::window::{self, Owed, Session};
use crate::protocol::ServerFrame;
use crate::shard::command::{Command, Typing};
use crate::telemetry;

/// What an owner may take to answer; later it is of no use.
const WITHIN: Duration = Duration::from_secs(1);

/// Frames of all sessions of a node that owners have not answered; more are dropped.
pub(super) const UNDER_WAY_OF_ALL: usize = 1_024;

/// The places of one frame that is under way.
type Places = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Inner {
    /// A client says that its user types, or does not any more. Only a frame with a `ref` is
    /// answered.
    pub(super) fn says_typing(
        self: &Arc<Self>,
        session: &Arc<Session>,
        conversation: &str,
        on: bool,
        (asked, owed): (Asked, Owed),
    ) {
        let conversation = match conversation_name(conversation) {
            Ok(conversation) => conversation,
            Err(problem) => return answer(session, asked, Err(problem), owed),
        };
        let Some(places) = places(self, session) else {
            telemetry::TYPING.add(1, &[("result", "dropped")]);
            return told(session, Ok(()), (asked, owed));
        };

        let shard = self.upstream.map().shard_of(conversation.slot());
        let user = session.user.clone();
        let typing = Typing {
            conversation,
            user,
            on,
        };

        let done = self
            .upstream
            .execute(shard, Command::Typing(typing), Instant::now() + WITHIN);
        let of = Arc::clone(session);
        self.spawn(async move {
            let result = done.await.map(drop);
            drop(places);
            told(&of, result, (asked, owed));
        });
    }
}

fn places(inner: &Inner, session: &Session) -> Option<Places> {
    let of_all = Arc::clone(&inner.typing).try_acquire_owned().ok()?;
    let own = session.asides.typing().place()?;
    session
        .asides
        .typing()
        .take(Instant::now())
        .then_some((of_all, own))
}

fn told(
    session: &Session,
    result: Result<(), crate::problem::Problem>,
    (asked, owed): (Asked, Owed),
) {
    if asked.reference.is_none() {
        return session.answered(asked.number);
    }
    answer(session, asked, result.map(|()| NOTHING), owed);
}

impl Board {
    /// Somebody types, or does not any more.
    pub(super) fn types(&self, conversation: &ConversationName, user: &UserId, until: u64) {
        let frame = ServerFrame::Typing {
            conversation,
            user,
            until,
        };
        self.tell_spare(conversation, Some(user), (&frame, "typing"));
    }

    /// Everything of a conversation up to a seq is gone.
    pub(super) fn is_pruned(&self, conversation: &ConversationName, up_to_seq: Seq) {
        let frame = ServerFrame::Pruned {
            conversation,
            up_to_seq,
        };
        self.tell_spare(conversation, None, (&frame, "pruned"));
    }

    /// A frame that may be missing, for the sessions of all participants but one.
    fn tell_spare(
        &self,
        conversation: &ConversationName,
        but: Option<&UserId>,
        (frame, kind): (&ServerFrame<'_>, &'static str),
    ) {
        let Some(feed) = self.feeds.get(conversation) else {
            return;
        };
        let mut post = Post::new(frame.encode(), None);
        let others = || {
            feed.members
                .iter()
                .filter(|(member, _)| Some(*member) != but)
        };
        let places = || others().flat_map(|(_, member)| &member.places);
        for place in places().filter(|place| matches!(place.cursor, Cursor::Live { .. })) {
            let is_quiet = self
                .sessions
                .get(&place.session.id)
                .is_none_or(|entry| entry.is_quiet);
            if !is_quiet {
                add_spare(&place.session, &mut post, kind);
            }
        }

        let cost = post.cost();
        for unsent in post.send() {
            places()
                .filter(|place| unsent.has(&place.session))
                .for_each(|place| place.session.take_back(cost));
        }
    }
}

/// The session gets the frame with the others, if it has room to spare.
pub(super) fn add_spare(session: &Session, post: &mut Post<'_>, kind: &'static str) -> bool {
    let is_taken = session.reserve_spare(post.cost()) == window::Place::Taken;
    let is_added = is_taken && post.add(session);
    if is_taken && !is_added {
        session.take_back(post.cost());
    }
    if !is_added {
        telemetry::SESSION_SPARED.add(1, &[("kind", kind)]);
    }
    is_added
}
