//! Receipts on their way to the sessions that they are for.

use crate::ids::{ConversationName, SessionId, UserId};
use crate::node::session::board::Board;
use crate::node::session::board::entries::Phase;
use crate::node::session::board::state::Cursor;
use crate::node::session::post::Post;
use crate::node::session::window::{self, ReceiptKey, ReceiptOf, Session};
use crate::protocol::{ReceiptKind, ServerFrame};
use crate::shard::command::Push;

impl Board {
    /// A receipt for the sessions of all participants; one that is behind gets it too, while its
    /// user is known to be in.
    pub(super) fn tell_members(&self, key: &ReceiptKey, mut post: Post<'_>) {
        let Some(feed) = self.feeds.get(&key.conversation) else {
            return;
        };
        for (user, member) in &feed.members {
            let membership = self
                .users
                .get(user)
                .and_then(|known| known.memberships.get(&key.conversation));
            let is_in = membership.is_some_and(|known| known.joined);
            for place in &member.places {
                match place.cursor {
                    Cursor::Live { .. } => add_receipt(&place.session, key, &mut post),
                    Cursor::Behind { .. } if is_in => add_receipt(&place.session, key, &mut post),
                    Cursor::Behind { .. } | Cursor::Waiting { .. } => {}
                }
            }
        }

        self.send_receipt(key, post);
    }

    /// Watermarks for the senders that they concern, and what was read for the other sessions of
    /// its reader.
    pub(super) fn tell_watermark(&self, push: &Push) {
        let Push::Watermark {
            conversation,
            user,
            read,
            up_to,
            ts,
            targets,
            origin,
            unread,
        } = push
        else {
            return;
        };
        let (read, up_to, ts) = (*read, *up_to, *ts);
        let key = ReceiptKey {
            conversation: conversation.clone(),
            user: user.clone(),
            of: ReceiptOf::Watermark { read },
        };
        let kind = if read {
            ReceiptKind::Read {
                up_to,
                ts,
                unread: None,
                unread_mentions: None,
            }
        } else {
            ReceiptKind::Delivered { up_to, ts }
        };

        let mut post = receipt(conversation, user, &kind);
        for target in targets.iter().filter(|target| *target != user) {
            self.tell_user(target, &key, &mut post, None);
        }
        self.send_receipt(&key, post);

        if read {
            let own = ReceiptKind::Read {
                up_to,
                ts,
                unread: unread.map(|unread| unread.messages),
                unread_mentions: unread.map(|unread| unread.mentions),
            };
            let mut own_post = receipt(conversation, user, &own);
            self.tell_user(user, &key, &mut own_post, *origin);
            self.send_receipt(&key, own_post);
        }
    }

    /// A user's own view for all of their sessions.
    pub(super) fn tell_own_view(&self, push: &Push) {
        let Push::View {
            conversation,
            user,
            notify_after,
            pinned,
            archived,
            read_up_to,
        } = push
        else {
            return;
        };
        let frame = ServerFrame::Me {
            conversation,
            notify_after: *notify_after,
            pinned: *pinned,
            archived: *archived,
            read_up_to: *read_up_to,
        };
        let key = ReceiptKey {
            conversation: conversation.clone(),
            user: user.clone(),
            of: ReceiptOf::View,
        };

        let mut post = Post::new(frame.encode(), None);
        self.tell_user(user, &key, &mut post, None);
        self.send_receipt(&key, post);
    }

    /// A receipt for the sessions of a user, if they are still a participant.
    pub(super) fn tell_user(
        &self,
        user: &UserId,
        key: &ReceiptKey,
        post: &mut Post<'_>,
        but: Option<SessionId>,
    ) {
        let Some(known) = self.users.get(user) else {
            return;
        };
        if !known
            .memberships
            .get(&key.conversation)
            .is_some_and(|membership| membership.joined)
        {
            return;
        }

        for id in known.sessions.iter().filter(|id| Some(**id) != but) {
            if let Some(entry) = self
                .sessions
                .get(id)
                .filter(|entry| entry.phase == Phase::Attached)
            {
                add_receipt(&entry.session, key, post);
            }
        }
    }

    /// Sends a receipt; it is kept for those to whom it could not be sent after all.
    pub(super) fn send_receipt(&self, key: &ReceiptKey, post: Post<'_>) {
        let text = post.text.clone();
        for unsent in post.send() {
            let all = self.sessions.values().map(|entry| &entry.session);
            all.filter(|session| unsent.has(session))
                .for_each(|session| session.keep_receipt(key, &text));
        }
    }
}

pub(super) fn receipt(
    conversation: &ConversationName,
    user: &UserId,
    kind: &ReceiptKind,
) -> Post<'static> {
    Post::new(
        ServerFrame::Receipt {
            conversation,
            user,
            kind,
        }
        .encode(),
        None,
    )
}

/// The session gets the receipt with the others, or keeps it.
fn add_receipt(session: &Session, key: &ReceiptKey, post: &mut Post<'_>) {
    if session.reserve_receipt(key, &post.text) == window::Place::Taken && !post.add(session) {
        session.keep_receipt(key, &post.text);
    }
}
