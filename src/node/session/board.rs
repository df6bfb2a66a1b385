//! Who is subscribed to what on this node, and every push handed to those it is for. Synchronous and without I/O: inputs
//! are pushes, answers and session changes; frames go into the outboxes, and what has to be asked of owners gathers in
//! [`Work`]. It lives under one lock, held for one input at a time.
//!
//! Invariants: a cursor is fed by pushes only while live (I9); a user who left has no live cursor after his own `left`
//! (I10); every conversation of a user with sessions is either subscribed or being asked for.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{ConversationName, Epoch, Offset, Seq, SessionId, ShardId, UserId};
use crate::node::render;
use crate::node::session::outbox::{self, Session};
use crate::node::session::state::{Cursor, Gap, Pushed};
use crate::planted::{self, Protection};
use crate::protocol::{GapReason, ReceiptKind, ServerFrame};
use crate::shard::command::Push;
use crate::shard::log::record::{Event, EventKind};
use crate::shard::map::ShardMap;
use crate::telemetry;

/// Events asked for at once.
pub(super) const SPAN_LIMIT: u32 = 200;

/// One question to the owner of a conversation.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// Which conversation.
    pub(super) conversation: ConversationName,
    /// For whom.
    pub(super) user: UserId,
    /// Which life of that user's entry here asked; older answers are not his.
    pub(super) generation: u64,
    /// Which subscription of the conversation asked; a lost link starts another.
    pub(super) round: u32,
    /// Also the events after this.
    pub(super) after: Option<Seq>,
    /// At most so many.
    pub(super) limit: u32,
    /// Also whether a membership of the user ended after this.
    pub(super) since: Option<Seq>,
    /// What was known of the tail when it was asked.
    pub(super) floor: Option<Seq>,
    /// Seq of the user's membership known when it was asked: a refusal says nothing of a later one.
    pub(super) told: Seq,
    /// Fruitless attempts before this one.
    pub(super) attempt: u32,
}

/// A user's index to be read.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// Whose.
    pub(super) user: UserId,
    /// Which life of his entry.
    pub(super) generation: u64,
    /// Rows changed after this version.
    pub(super) after: Offset,
    /// Fruitless attempts before this one.
    pub(super) attempt: u32,
}

/// Spans for one session, fetched in one go.
#[derive(Debug, Clone)]
pub(super) struct Fetch {
    /// For whom.
    pub(super) session: SessionId,
    /// Which shard is asked.
    pub(super) shard: ShardId,
    /// From where.
    pub(super) asks: Vec<Ask>,
    /// Fruitless attempts before this one.
    pub(super) attempt: u32,
}

/// What has to be asked of owners. The caller does it and brings the answers.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Subscriptions.
    pub(super) asks: Vec<Ask>,
    /// Spans.
    pub(super) fetches: Vec<Fetch>,
    /// Indexes.
    pub(super) loads: Vec<Load>,
    /// Interests that ended.
    pub(super) ended: Vec<(ConversationName, UserId)>,
    /// Index interests that ended.
    pub(super) ended_indexes: Vec<UserId>,
}

/// What the index (or a newer event) says of a user in a conversation.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Membership {
    pub(super) seq: Seq,
    pub(super) joined: bool,
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) shard: ShardId,
    pub(super) generation: u64,
    /// The index was read once to its end.
    pub(super) loaded: bool,
    /// Every change up to here is known; pushes move it only while no read is under way.
    pub(super) confirmed: Offset,
    pub(super) newest: Offset,
    pub(super) loading: bool,
    pub(super) sessions: Vec<SessionId>,
    pub(super) memberships: HashMap<ConversationName, Membership>,
}

/// How far a user's subscription of a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    None,
    Asking,
    Live,
}

/// A cursor of one session.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) session: Arc<Session>,
    pub(super) cursor: Cursor,
    pub(super) origin: Origin,
}

/// How a cursor came about, until it has caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// At the tail, or at a position: everything that follows is shown.
    Position,
    /// With the user's latest `joined`. Nothing is known of them from `since` on: whole memberships may lie between.
    Joined {
        /// Up to here their memberships are known.
        since: Seq,
    },
    /// There are memberships before the latest `joined`: they are shown, and nothing that lies outside of them.
    Memberships {
        /// The cursor stands within one.
        inside: bool,
    },
}

/// One user in a conversation.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) interest: Interest,
    pub(super) places: Vec<Place>,
}

/// One conversation with local members.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) shard: ShardId,
    pub(super) epoch: Epoch,
    /// Highest seq told by owner or push.
    pub(super) known: Option<Seq>,
    pub(super) round: u32,
    /// The round in which the tail was seen to go back.
    pub(super) lost_in: Option<u32>,
    pub(super) members: HashMap<UserId, Member>,
}

/// How far a session is in its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Opened with `resume=wait`: no cursors until the resume.
    Held,
    /// Waits for the user's index.
    Starting,
    /// Has a cursor in each conversation.
    Attached,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) session: Arc<Session>,
    pub(super) phase: Phase,
    /// Of `resume` frames so far, until the one without `more`.
    pub(super) positions: BTreeMap<ConversationName, Seq>,
    /// Conversations that `ready` waits for; true: named in the resume, to be told `live`.
    pub(super) due: HashMap<ConversationName, bool>,
    /// Caught up, not yet told.
    pub(super) announce: Vec<ConversationName>,
    pub(super) ready_due: bool,
    /// What it has to fetch, by shard: one that does not answer holds up no other.
    pub(super) spans: BTreeMap<ShardId, Spans>,
    /// The shard asked last; the next one is asked next.
    pub(super) asked: ShardId,
    /// Conversations in fetches under way that are not late.
    pub(super) fetching: usize,
}

/// What a session has to fetch of one shard.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// Conversations that are behind and not being fetched.
    pub(super) queue: VecDeque<ConversationName>,
    /// Conversations of the one fetch under way.
    pub(super) fetching: usize,
    /// That fetch only waits for the owner, or for its time to be tried again.
    pub(super) late: bool,
    pub(super) attempt: u32,
}

/// Everything live on this node.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) map: ShardMap,
    pub(super) users: HashMap<UserId, User>,
    pub(super) feeds: HashMap<ConversationName, Feed>,
    pub(super) sessions: HashMap<SessionId, Entry>,
    pub(super) work: Work,
    pub(super) generations: u64,
}

impl Board {
    /// A board without sessions.
    pub(super) fn new(map: ShardMap) -> Self {
        let (users, feeds, sessions) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { map, users, feeds, sessions, work: Work::default(), generations: 0 }
    }

    /// What has to be asked now; empty until the next input.
    pub(super) fn take_work(&mut self) -> Work {
        std::mem::take(&mut self.work)
    }

    /// Hands on one push.
    pub(super) fn push(&mut self, push: Push) {
        match push {
            Push::Event { epoch, event } => self.pushed(epoch, &event),
            Push::Watermark { conversation, user, read, up_to, ts, targets, origin } => {
                let kind = if read { ReceiptKind::Read { up_to, ts } } else { ReceiptKind::Delivered { up_to, ts } };
                let frame = receipt(&conversation, &user, &kind);
                for target in targets.iter().filter(|target| **target != user) {
                    self.tell_user(target, &conversation, &frame, None);
                }
                if read {
                    self.tell_user(&user, &conversation, &frame, origin);
                }
            }
            Push::Reaction { conversation, user, message_id, reaction, ts } => {
                let Some(feed) = self.feeds.get(&conversation) else { return };
                let frame = receipt(&conversation, &user, &ReceiptKind::Reaction { message_id, reaction, ts });
                for place in feed.members.values().flat_map(|member| &member.places) {
                    if matches!(place.cursor, Cursor::Live { .. }) {
                        place.session.offer(frame.clone(), None);
                    }
                }
            }
            Push::Index { user, item } => self.index_changed(&user, &item),
            Push::Resubscribe { shard } => self.resubscribe(shard),
        }
    }

    fn pushed(&mut self, epoch: Epoch, event: &Arc<Event>) {
        let Some(feed) = self.feeds.get_mut(&event.conversation) else { return };
        if epoch < feed.epoch {
            return self.doubt(event);
        }
        feed.epoch = epoch;
        self.deliver(event, false);
    }

    /// An event of an epoch below one that was heard since the last subscription: of an owner that was replaced, or of
    /// one that goes on because the log forgot the other's claim. It is not delivered; whoever has not come so far asks
    /// the owner that stands now.
    fn doubt(&mut self, event: &Event) {
        let Some(feed) = self.feeds.get_mut(&event.conversation) else { return };
        let mut behind = Vec::new();
        for Place { session, cursor, .. } in feed.members.values_mut().flat_map(|member| &mut member.places) {
            if matches!(cursor, Cursor::Live { seq } if *seq < event.seq) {
                cursor.fall_behind();
                behind.push(session.id);
            }
        }
        for session in behind {
            self.enqueue(session, &event.conversation);
        }
    }

    /// Gives an event to every live cursor that it continues. With `paced` (a span for all, after a lost link) a session
    /// whose outbox has no room falls behind instead of ending as a slow consumer.
    pub(super) fn deliver(&mut self, event: &Arc<Event>, paced: bool) {
        let Some(feed) = self.feeds.get_mut(&event.conversation) else { return };
        feed.known = feed.known.max(Some(event.seq));
        let mut frame: Option<Bytes> = None;
        let mut behind = Vec::new();
        for Place { session, cursor, .. } in feed.members.values_mut().flat_map(|member| &mut member.places) {
            if paced && matches!(cursor, Cursor::Live { .. }) && !session.has_room() {
                cursor.fall_behind();
                behind.push(session.id);
                continue;
            }
            match cursor.pushed(event.seq) {
                Pushed::Deliver => {
                    let frame = frame.get_or_insert_with(|| outbox::text(&render::event_json(event)));
                    session.offer(frame.clone(), Some(Arc::clone(event)));
                }
                Pushed::FellBehind => behind.push(session.id),
                Pushed::Passed => {}
            }
        }
        for session in behind {
            self.enqueue(session, &event.conversation);
        }
        match &event.kind {
            EventKind::Left { user, .. } => self.left_seen(user, &event.conversation, event.seq),
            EventKind::Joined { users, .. } => {
                for user in users {
                    self.joined(user, &event.conversation, event.seq);
                }
            }
            EventKind::Created { .. } | EventKind::Message { .. } => {}
        }
    }

    /// A receipt for the sessions of a user, if he is still a participant.
    fn tell_user(&self, user: &UserId, conversation: &ConversationName, frame: &Bytes, but: Option<SessionId>) {
        let Some(known) = self.users.get(user) else { return };
        if !known.memberships.get(conversation).is_some_and(|membership| membership.joined) {
            return;
        }
        for id in known.sessions.iter().filter(|id| Some(**id) != but) {
            if let Some(entry) = self.sessions.get(id).filter(|entry| entry.phase == Phase::Attached) {
                entry.session.offer(frame.clone(), None);
            }
        }
    }

    /// Pushes of a shard were lost or its owner changes: everything of it is asked for again. Of each conversation the
    /// first answer also brings what was missed, for all.
    fn resubscribe(&mut self, shard: ShardId) {
        let Self { feeds, users, work, .. } = self;
        for (conversation, feed) in feeds.iter_mut().filter(|(_, feed)| feed.shard == shard) {
            feed.round = feed.round.wrapping_add(1);
            // Whoever answers now is heard, also when the log forgot a higher epoch.
            feed.epoch = Epoch(0);
            let known_seq = feed.known.filter(|_| !planted::is_dropped(Protection::ResubscribeCursor));
            let mut after = known_seq;
            for (user, member) in &mut feed.members {
                let Some(known) = users.get(user) else { continue };
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
            work.loads.push(Load { user, generation, after: known.confirmed, attempt: 0 });
        }
    }

    /// True while the answer would still mean someone.
    pub(super) fn wants(&self, ask: &Ask) -> bool {
        let Some(feed) = self.feeds.get(&ask.conversation) else { return false };
        let asking = feed.members.get(&ask.user).is_some_and(|member| member.interest == Interest::Asking);
        let generation = self.users.get(&ask.user).map(|known| known.generation);
        generation == Some(ask.generation) && feed.round == ask.round && asking
    }

    /// True while the user whose index is to be read has sessions.
    pub(super) fn wants_index(&self, load: &Load) -> bool {
        self.users.get(&load.user).is_some_and(|known| known.generation == load.generation)
    }

    /// Asks for the conversation on behalf of a user unless that is done or under way.
    pub(super) fn ensure_interest(&mut self, user: &UserId, conversation: &ConversationName) {
        let Some(known) = self.users.get(user) else { return };
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
        self.feeds.entry(conversation.clone()).or_insert_with(|| Feed {
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
        let Some(feed) = self.feeds.get_mut(conversation) else { return };
        if feed.members.get(user).is_some_and(|member| member.interest == Interest::None && member.places.is_empty()) {
            feed.members.remove(user);
        }
        if feed.members.is_empty() {
            self.feeds.remove(conversation);
        }
    }

    /// Tells a session of a gap.
    pub(super) fn tell_gap(session: &Session, conversation: &ConversationName, gap: Option<Gap>) {
        let Some(Gap { from, to, reason }) = gap else { return };
        let label = match reason {
            GapReason::TooFar => "too_far",
            GapReason::Replaced => "replaced",
            GapReason::NotParticipant => "not_participant",
        };
        telemetry::SESSION_GAPS.add(1, &[("reason", label)]);
        session.offer_frame(&ServerFrame::Gap { conversation, from, to, reason });
    }
}

impl User {
    /// Seq of the latest change of his membership that is known.
    pub(super) fn membership_seq(&self, conversation: &ConversationName) -> Seq {
        self.memberships.get(conversation).map_or(Seq(0), |membership| membership.seq)
    }
}

impl Member {
    /// From where on memberships have to be asked for, for all cursors that start with a `joined`.
    pub(super) fn since(&self) -> Option<Seq> {
        let since = |place: &Place| match place.origin {
            Origin::Joined { since } => Some(since),
            Origin::Position | Origin::Memberships { .. } => None,
        };
        self.places.iter().filter_map(since).min()
    }
}

impl Place {
    /// Whether an event that is fetched for this cursor is shown.
    pub(super) fn shows(&mut self, event: &Event, user: &UserId) -> bool {
        let Origin::Memberships { inside } = &mut self.origin else { return true };
        match &event.kind {
            EventKind::Created { participants: users, .. } | EventKind::Joined { users, .. } => {
                *inside |= users.contains(user);
                *inside
            }
            EventKind::Left { user: left, .. } if left == user => std::mem::replace(inside, false),
            EventKind::Left { .. } | EventKind::Message { .. } => *inside,
        }
    }
}

impl Feed {
    /// The member, made if he is new here.
    pub(super) fn member(&mut self, user: &UserId) -> &mut Member {
        let new = || Member { interest: Interest::None, places: Vec::new() };
        self.members.entry(user.clone()).or_insert_with(new)
    }

    /// The cursor of one session.
    pub(super) fn place(&mut self, user: &UserId, session: SessionId) -> Option<&mut Place> {
        self.members.get_mut(user)?.places.iter_mut().find(|place| place.session.id == session)
    }
}

fn receipt(conversation: &ConversationName, user: &UserId, kind: &ReceiptKind) -> Bytes {
    outbox::text(&ServerFrame::Receipt { conversation, user, kind }.encode())
}
