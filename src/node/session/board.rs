//! Who is subscribed to what on this node, and every push handed to those it is for. Synchronous
//! and without I/O: inputs are pushes, answers and session changes; frames go over the links to
//! routers, and what has to be asked of owners gathers in [`Work`]. It lives under one lock, held
//! for one input at a time.
//!
//! Invariants: a cursor is fed by pushes only while live (I9); a user who left has no live cursor
//! after his own `left` (I10); every conversation of a user with sessions is either subscribed or
//! being asked for.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cluster::map::ShardMap;
use crate::ids::{ConversationName, Epoch, Seq, SessionId, ShardId, UserId};
use crate::log::record::{Event, EventKind};
use crate::node::session::entries::{Entry, Feed, Interest, Phase, Place, User};
use crate::node::session::post::{Mark, Post};
use crate::node::session::render;
use crate::node::session::standing::Noted;
use crate::node::session::state::{Cursor, Gap, Pushed};
use crate::node::session::watching::Watching;
use crate::node::session::window::{self, ReceiptKey, ReceiptOf, Session};
use crate::node::session::work::{Ask, Load, Work};
use crate::protocol::{GapReason, ReceiptKind, ServerFrame};
use crate::shard::command::Push;
use crate::telemetry;

/// Events asked for at once.
pub(super) const SPAN_LIMIT: u32 = 200;

/// Everything live on this node.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) map: ShardMap,
    pub(super) users: HashMap<UserId, User>,
    pub(super) feeds: HashMap<ConversationName, Feed>,
    pub(super) sessions: HashMap<SessionId, Entry>,
    pub(super) work: Work,
    pub(super) generations: u64,
    /// Whose standing has changed, and is to be told.
    pub(super) noted: Vec<Noted>,
    /// Who is watched.
    pub(super) watching: Watching,
}

impl Board {
    /// A board without sessions.
    pub(super) fn new(map: ShardMap) -> Self {
        let (users, feeds, sessions) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self {
            map,
            users,
            feeds,
            sessions,
            work: Work::default(),
            generations: 0,
            noted: Vec::new(),
            watching: Watching::new(map),
        }
    }

    /// What has to be asked now; empty until the next input.
    pub(super) fn take_work(&mut self) -> Work {
        std::mem::take(&mut self.work)
    }

    /// Hands on one push.
    pub(super) fn push(&mut self, push: Push) {
        match push {
            Push::Event { epoch, event } => self.pushed(epoch, &event),
            Push::Watermark {
                conversation,
                user,
                read,
                up_to,
                ts,
                targets,
                origin,
            } => {
                let of = ReceiptOf::Watermark { read };
                let key = ReceiptKey {
                    conversation: conversation.clone(),
                    user: user.clone(),
                    of,
                };
                let kind = if read {
                    ReceiptKind::Read { up_to, ts }
                } else {
                    ReceiptKind::Delivered { up_to, ts }
                };
                let mut post = receipt(&conversation, &user, &kind);
                for target in targets.iter().filter(|target| **target != user) {
                    self.tell_user(target, &key, &mut post, None);
                }
                if read {
                    self.tell_user(&user, &key, &mut post, origin);
                }
                self.send_receipt(&key, post);
            }
            Push::Reaction {
                conversation,
                user,
                message_id,
                reaction,
                ts,
            } => {
                let kind = ReceiptKind::Reaction {
                    message_id,
                    reaction,
                    ts,
                };
                let post = receipt(&conversation, &user, &kind);
                let key = ReceiptKey {
                    conversation,
                    user,
                    of: ReceiptOf::Reaction(message_id),
                };
                self.tell_members(&key, post);
            }
            Push::Typing {
                conversation,
                user,
                until,
            } => self.types(&conversation, &user, until),
            Push::Presence { epoch, changes, .. } => self.watching.all_told(epoch, changes),
            Push::Index { user, item } => self.index_changed(&user, &item),
            Push::Resubscribe { shard } => self.resubscribe(shard),
        }
    }

    fn pushed(&mut self, epoch: Epoch, event: &Arc<Event>) {
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
        let mut post: Option<Post<'_>> = None;
        let mut behind = Vec::new();
        for Place {
            session, cursor, ..
        } in feed
            .members
            .values_mut()
            .flat_map(|member| &mut member.places)
        {
            if paced && matches!(cursor, Cursor::Live { .. }) && !session.has_room() {
                cursor.fall_behind();
                behind.push(session.id);
                continue;
            }
            match cursor.pushed(event.seq) {
                Pushed::Deliver => {
                    let post = post.get_or_insert_with(|| {
                        Post::new(render::event_json(event), Some(Mark::of(event)))
                    });
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
        behind.extend(post.map_or_else(Vec::new, |post| send_event(post, feed)));
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
            EventKind::Message { source, .. } => self.watching.acted(source, &event.conversation),
            _ => {}
        }
    }

    /// A receipt for the sessions of all participants; one that is behind gets it too, while its
    /// user is known to be in.
    fn tell_members(&self, key: &ReceiptKey, mut post: Post<'_>) {
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

    /// A receipt for the sessions of a user, if they are still a participant.
    fn tell_user(
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
    fn send_receipt(&self, key: &ReceiptKey, post: Post<'_>) {
        let text = post.text.clone();
        for unsent in post.send() {
            let all = self.sessions.values().map(|entry| &entry.session);
            all.filter(|session| unsent.has(session))
                .for_each(|session| session.keep_receipt(key, &text));
        }
    }

    /// Pushes of a shard were lost or its owner changes: everything of it is asked for again. Of
    /// each conversation the first answer also brings what was missed, for all.
    fn resubscribe(&mut self, shard: ShardId) {
        self.watching.asked_anew(shard);
        let Self {
            feeds, users, work, ..
        } = self;
        for (conversation, feed) in feeds.iter_mut().filter(|(_, feed)| feed.shard == shard) {
            feed.round = feed.round.wrapping_add(1);
            // Whoever answers now is heard, also when the log forgot a higher epoch.
            feed.epoch = Epoch(0);
            let known_seq = feed.known;
            let mut after = known_seq;
            for (user, member) in &mut feed.members {
                let Some(known) = users.get(user) else {
                    continue;
                };
                member.interest = Interest::Asking;
                let ask = Ask {
                    conversation: conversation.clone(),
                    user: user.clone(),
                    generation: known.generation,
                    round: feed.round,
                    after: after.take(),
                    limit: SPAN_LIMIT,
                    since: member.since(),
                    floor: known_seq,
                    told: known.membership_seq(conversation),
                    attempt: 0,
                };
                work.asks.push(ask);
            }
        }
        for (user, known) in users.iter_mut().filter(|(_, known)| known.shard == shard) {
            if known.loaded {
                known.loading = true;
            }
            let (user, generation) = (user.clone(), known.generation);
            work.loads.push(Load {
                user,
                generation,
                after: known.confirmed,
                attempt: 0,
            });
        }
    }

    /// True while the answer would still mean someone.
    pub(super) fn wants(&self, ask: &Ask) -> bool {
        let Some(feed) = self.feeds.get(&ask.conversation) else {
            return false;
        };
        let asking = feed
            .members
            .get(&ask.user)
            .is_some_and(|member| member.interest == Interest::Asking);
        let generation = self.users.get(&ask.user).map(|known| known.generation);
        generation == Some(ask.generation) && feed.round == ask.round && asking
    }

    /// True while the user whose index is to be read has sessions.
    pub(super) fn wants_index(&self, load: &Load) -> bool {
        self.users
            .get(&load.user)
            .is_some_and(|known| known.generation == load.generation)
    }

    /// Asks for the conversation on behalf of a user unless that is done or under way.
    pub(super) fn ensure_interest(&mut self, user: &UserId, conversation: &ConversationName) {
        let Some(known) = self.users.get(user) else {
            return;
        };
        let (generation, told) = (known.generation, known.membership_seq(conversation));
        let feed = self.feed(conversation);
        let (round, floor) = (feed.round, feed.known);
        let member = feed.member(user);
        if member.interest == Interest::None {
            member.interest = Interest::Asking;
            let since = member.since();
            let (conversation, user) = (conversation.clone(), user.clone());
            let (after, limit, attempt) = (None, SPAN_LIMIT, 0);
            self.work.asks.push(Ask {
                conversation,
                user,
                generation,
                round,
                after,
                limit,
                since,
                floor,
                told,
                attempt,
            });
        }
    }

    /// The conversation's feed, made if it is new here.
    pub(super) fn feed(&mut self, conversation: &ConversationName) -> &mut Feed {
        let map = self.map;
        self.feeds
            .entry(conversation.clone())
            .or_insert_with(|| Feed {
                shard: map.shard_of(conversation.slot()),
                epoch: Epoch(0),
                known: None,
                round: 0,
                lost_in: None,
                members: HashMap::new(),
            })
    }

    /// Forgets a member who has neither interest nor cursors, and a conversation without members.
    pub(super) fn drop_member_if_idle(&mut self, user: &UserId, conversation: &ConversationName) {
        let Some(feed) = self.feeds.get_mut(conversation) else {
            return;
        };
        if feed
            .members
            .get(user)
            .is_some_and(|member| member.interest == Interest::None && member.places.is_empty())
        {
            feed.members.remove(user);
        }
        if feed.members.is_empty() {
            self.feeds.remove(conversation);
            self.work.forgotten.push(conversation.clone());
        }
    }

    /// Tells a session of a gap.
    pub(super) fn tell_gap(session: &Session, conversation: &ConversationName, gap: Option<Gap>) {
        let Some(Gap { from, to, reason }) = gap else {
            return;
        };
        let label = match reason {
            GapReason::TooFar => "too_far",
            GapReason::Replaced => "replaced",
            GapReason::NotParticipant => "not_participant",
        };
        telemetry::SESSION_GAPS.add(1, &[("reason", label)]);
        let frame = ServerFrame::Gap {
            conversation,
            from,
            to,
            reason,
        };
        match reason {
            GapReason::TooFar => session.offer_gap(&frame, conversation, to),
            GapReason::Replaced => {
                session.offer_gap(&frame, conversation, Seq(from.0.saturating_sub(1)))
            }
            // It says what is not given, and the cursor ends.
            GapReason::NotParticipant => session.offer_frame(&frame),
        }
    }
}

fn receipt(conversation: &ConversationName, user: &UserId, kind: &ReceiptKind) -> Post<'static> {
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

/// The session gets the receipt with the others, or keeps it.
fn add_receipt(session: &Session, key: &ReceiptKey, post: &mut Post<'_>) {
    if session.reserve_receipt(key, &post.text) == window::Place::Taken && !post.add(session) {
        session.keep_receipt(key, &post.text);
    }
}
