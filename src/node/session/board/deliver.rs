//! An event on its way to the sessions that it is for: it is handed to every live cursor that it
//! continues, and encoded once for all of them.

use std::sync::Arc;

use crate::ids::{Epoch, SessionId, UserId};
use crate::log::record::{Event, EventKind};
use crate::node::session::board::Board;
use crate::node::session::board::entries::{Feed, Place};
use crate::node::session::board::state::{Cursor, Pushed};
use crate::node::session::post::{Mark, Post};
use crate::node::session::render;
use crate::node::session::window::{self, Session};
use crate::telemetry;

impl Board {
    pub(super) fn pushed(&mut self, epoch: Epoch, event: &Arc<Event>) {
        let Some(feed) = self.feeds.get_mut(&event.conversation) else {
            return;
        };
        if epoch < feed.epoch {
            return self.doubt(event);
        }
        feed.epoch = epoch;
        self.deliver(event, false);
    }

    /// An event of an epoch below one that was heard since the last subscription: of an owner that
    /// was replaced, or of one that goes on because the log forgot the other's claim. It is not
    /// delivered; whoever has not come so far asks the owner that stands now.
    fn doubt(&mut self, event: &Event) {
        let Some(feed) = self.feeds.get_mut(&event.conversation) else {
            return;
        };
        let mut behind = Vec::new();
        for Place {
            session, cursor, ..
        } in feed
            .members
            .values_mut()
            .flat_map(|member| &mut member.places)
        {
            if matches!(cursor, Cursor::Live { seq } if *seq < event.seq) {
                cursor.fall_behind();
                behind.push(session.id);
            }
        }

        for session in behind {
            self.enqueue(session, &event.conversation);
        }
    }

    /// Gives an event to every live cursor that it continues. A session whose window or link has no
    /// room for it falls behind, and with `paced` (a span for all, after a lost link) already one
    /// whose window is half full.
    pub(super) fn deliver(&mut self, event: &Arc<Event>, paced: bool) {
        let Some(feed) = self.feeds.get_mut(&event.conversation) else {
            return;
        };
        feed.known = feed.known.max(Some(event.seq));
        let mut posts = Posts::of(event);
        let mut behind = Vec::new();
        let places = feed.members.iter_mut().flat_map(|(user, member)| {
            let places = member.places.iter_mut();
            places.map(move |place| (user, place))
        });
        for (
            user,
            Place {
                session, cursor, ..
            },
        ) in places
        {
            if paced && matches!(cursor, Cursor::Live { .. }) && !session.has_room() {
                cursor.fall_behind();
                behind.push(session.id);
                continue;
            }
            match cursor.pushed(event.seq) {
                Pushed::Deliver => {
                    let post = posts.of_user(user);
                    if !has_place(session, post) {
                        telemetry::SESSION_BEHIND.add(1, &[]);
                        cursor.take_back();
                        behind.push(session.id);
                    }
                }
                Pushed::FellBehind => behind.push(session.id),
                Pushed::Passed => {}
            }
        }

        for post in posts.all.into_iter().chain(posts.own) {
            behind.extend(send_event(post, feed));
        }
        for session in behind {
            self.enqueue(session, &event.conversation);
        }

        match &event.kind {
            EventKind::Left { user, .. } => {
                self.unseen(user, &event.conversation);
                self.left_seen(user, &event.conversation, event.seq);
            }
            EventKind::Joined { users, .. } => {
                for user in users {
                    self.joined(user, &event.conversation, event.seq);
                }
            }
            EventKind::Updated { settings, .. } if settings.presence == Some(false) => {
                self.watching.hidden(&event.conversation);
            }
            EventKind::Closed { .. } => self.closed_seen(&event.conversation, event.seq),
            EventKind::Message { source, .. } => self.watching.acted(source, &event.conversation),
            _ => {}
        }
    }
}

/// The frames of an event, each made when somebody is to get it.
struct Posts<'a> {
    event: &'a Event,
    /// Whose message it is, and the key that they chose for it: their own sessions are told it.
    keyed: Option<(&'a UserId, &'a str)>,
    all: Option<Post<'a>>,
    own: Option<Post<'a>>,
}

impl<'a> Posts<'a> {
    fn of(event: &'a Event) -> Self {
        let chosen = event.key.as_ref().filter(|key| !key.stamped);
        let keyed = match (&event.kind, chosen) {
            (EventKind::Message { source, .. }, Some(key)) => Some((source, &*key.key)),
            _ => None,
        };
        Self {
            event,
            keyed,
            all: None,
            own: None,
        }
    }

    fn of_user(&mut self, user: &UserId) -> &mut Post<'a> {
        let event = self.event;
        let post = |text| Post::new(text, Some(Mark::of(event)));
        match self.keyed {
            Some((source, key)) if source == user => {
                let own = || post(render::own_message_json(event, key));
                self.own.get_or_insert_with(own)
            }
            _ => self
                .all
                .get_or_insert_with(|| post(render::event_json(event))),
        }
    }
}

/// The session gets the event with the others, or has ended; false when there is no room for it.
fn has_place(session: &Session, post: &mut Post<'_>) -> bool {
    match session.reserve(post.cost()) {
        window::Place::Ended => true,
        window::Place::Full => false,
        window::Place::Taken if post.add(session) => true,
        window::Place::Taken => {
            session.take_back(post.cost());
            false
        }
    }
}

/// Sends an event. Those to whom it could not be sent after all have fallen behind.
fn send_event(post: Post<'_>, feed: &mut Feed) -> Vec<SessionId> {
    let (cost, mut behind) = (post.cost(), Vec::new());
    for unsent in post.send() {
        let places = feed
            .members
            .values_mut()
            .flat_map(|member| &mut member.places);
        for Place {
            session, cursor, ..
        } in places.filter(|place| unsent.has(&place.session))
        {
            telemetry::SESSION_BEHIND.add(1, &[]);
            session.take_back(cost);
            cursor.take_back();
            behind.push(session.id);
        }
    }

    behind
}
