//! How a session starts on the board, resumes, and ends: it gets a cursor in each conversation of
//! its user; `live` and `ready` tell when those have caught up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::ids::{ConversationName, Offset, Seq, SessionId, ShardId, UserId};
use crate::link::front::attach::Tells;
use crate::node::session::board::Board;
use crate::node::session::entries::{Entry, Interest, Membership, Origin, Phase, Place, User};
use crate::node::session::standing::Left;
use crate::node::session::state::{Cursor, Cut, Resumed};
use crate::node::session::window::Session;
use crate::node::session::work::Load;
use crate::protocol::{LIVE_POSITIONS_MAX, ServerFrame};
use crate::shard::IndexPage;

/// Positions of one resume, over all its frames; more are refused.
pub(super) const RESUME_TOTAL_MAX: usize = 20_000;

impl Board {
    /// A session opened. With `held` it waits for its `resume`.
    pub(super) fn open(&mut self, session: &Arc<Session>, held: bool) {
        self.enter(session, held, None);
    }

    /// A session is here. With `left` it goes on as another node left it.
    pub(super) fn enter(&mut self, session: &Arc<Session>, held: bool, left: Option<Left>) {
        let entry = Entry {
            session: Arc::clone(session),
            phase: if held { Phase::Held } else { Phase::Starting },
            is_quiet: held || left.as_ref().is_some_and(|left| !left.was_ready),
            left,
            positions: BTreeMap::new(),
            due: HashMap::new(),
            announce: Vec::new(),
            ready_due: false,
            spans: BTreeMap::new(),
            asked: ShardId(0),
            fetching: 0,
        };
        self.sessions.insert(session.id, entry);
        if let Some(known) = self.users.get_mut(&session.user) {
            known.sessions.push(session.id);
        } else {
            self.generations += 1;
            let first = User {
                shard: self.map.shard_of(session.user.slot()),
                generation: self.generations,
                loaded: false,
                confirmed: Offset(0),
                newest: Offset(0),
                loading: true,
                sessions: vec![session.id],
                memberships: HashMap::new(),
            };
            self.users.insert(session.user.clone(), first);
            let (user, generation) = (session.user.clone(), self.generations);
            self.work.loads.push(Load {
                user,
                generation,
                after: Offset(0),
                attempt: 0,
            });
        }
        self.attach_if_possible(session.id);
    }

    /// A session is gone; with the last one of a user go his subscriptions.
    pub(super) fn close(&mut self, id: SessionId) {
        let Some(entry) = self.sessions.remove(&id) else {
            return;
        };
        self.watching.end(id);
        let user = &entry.session.user;
        let Some(known) = self.users.get_mut(user) else {
            return;
        };
        known.sessions.retain(|other| *other != id);
        let last = known.sessions.is_empty();
        for conversation in known.memberships.keys() {
            let Some(feed) = self.feeds.get_mut(conversation) else {
                continue;
            };
            if last {
                let was = feed.members.remove(user);
                if was.is_some_and(|member| {
                    member.interest != Interest::None || !member.places.is_empty()
                }) {
                    self.work.ended.push((conversation.clone(), user.clone()));
                }
            } else if let Some(member) = feed.members.get_mut(user) {
                member.places.retain(|place| place.session.id != id);
                member.places.shrink_to_fit();
            }
            if feed.members.is_empty() {
                self.feeds.remove(conversation);
                self.work.forgotten.push(conversation.clone());
            }
        }
        if last {
            self.users.remove(user);
            self.work.ended_indexes.push(user.clone());
        }
    }

    /// A page of a user's index came. When there is nobody for it any more, its interest is ended.
    pub(super) fn loaded(&mut self, load: &Load, page: &IndexPage) {
        let Some(known) = self.users.get_mut(&load.user) else {
            self.work.ended_indexes.push(load.user.clone());
            return;
        };
        if known.generation != load.generation {
            return;
        }
        let last = page.items.last().map_or(load.after, |item| item.version);
        known.newest = known.newest.max(last);
        let first = !known.loaded;
        for item in &page.items {
            if first {
                // Nobody has a cursor yet: all start together, at the end of the last page.
                let Some(starting) = self.users.get_mut(&load.user) else {
                    break;
                };
                let membership = starting
                    .memberships
                    .entry(item.conversation.clone())
                    .or_default();
                if membership.seq < item.seq {
                    *membership = Membership {
                        seq: item.seq,
                        joined: item.joined,
                    };
                }
            } else {
                self.index_item(&load.user, item);
            }
        }
        if page.more {
            self.work.loads.push(Load {
                after: last,
                attempt: 0,
                ..load.clone()
            });
            return;
        }
        self.index_complete(&load.user, first);
    }

    /// A user's index could not be read: asked again while he has sessions.
    pub(super) fn load_failed(&mut self, load: Load) {
        if self.wants_index(&load) {
            let attempt = load.attempt.saturating_add(1);
            self.work.loads.push(Load { attempt, ..load });
        }
    }

    fn index_complete(&mut self, user: &UserId, first: bool) {
        let Some(known) = self.users.get_mut(user) else {
            return;
        };
        known.loaded = true;
        known.loading = false;
        known.confirmed = known.newest;
        if !first {
            return;
        }
        let joined: Vec<_> = known
            .memberships
            .iter()
            .filter(|(_, at)| at.joined)
            .map(|(name, _)| name.clone())
            .collect();
        let sessions = known.sessions.clone();
        for conversation in joined {
            self.ensure_interest(user, &conversation);
        }
        for id in sessions {
            self.attach_if_possible(id);
        }
    }

    /// A `resume` frame: sets cursors when it is the last of its row.
    pub(super) fn resume(
        &mut self,
        id: SessionId,
        positions: BTreeMap<ConversationName, Seq>,
        more: bool,
    ) -> Resumed {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return Resumed::Placed;
        };
        entry.positions.extend(positions);
        if entry.positions.len() > RESUME_TOTAL_MAX {
            entry.positions.clear();
            return Resumed::TooMany;
        }
        if more {
            return Resumed::Later;
        }
        if entry.phase == Phase::Attached {
            self.set_anew(id);
        } else {
            entry.phase = Phase::Starting;
            self.attach_if_possible(id);
        }
        let phase = self.sessions.get(&id).map(|resumed| resumed.phase);
        if phase.is_none_or(|phase| phase == Phase::Attached) {
            Resumed::Placed
        } else {
            Resumed::Later
        }
    }

    /// The resume of a held session did not come in time: it starts without.
    pub(super) fn stop_waiting(&mut self, id: SessionId) {
        if let Some(entry) = self
            .sessions
            .get_mut(&id)
            .filter(|entry| entry.phase == Phase::Held)
        {
            entry.phase = Phase::Starting;
            self.attach_if_possible(id);
        }
    }

    fn attach_if_possible(&mut self, id: SessionId) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(known) = self.users.get(&entry.session.user) else {
            return;
        };
        if entry.phase != Phase::Starting || !known.loaded {
            return;
        }
        entry.phase = Phase::Attached;
        let mut positions = std::mem::take(&mut entry.positions);
        if let Some(mut left) = entry.left.take() {
            if !positions.is_empty() {
                left.resumed(positions);
            }
            return self.place_as_left(id, left);
        }
        let (user, joined, out) = (entry.session.user.clone(), known.joined(), known.out());
        for conversation in joined {
            let position = positions.remove(&conversation);
            self.start_due(id, &conversation, position);
            self.ensure_interest(&user, &conversation);
        }
        for conversation in out {
            self.note_out(id, &conversation);
        }
        self.start_foreign(id, positions);
        self.become_ready(id);
        self.note_stage(id);
    }

    /// A resume within a running session. What is not named and live stays live: it is at its tail.
    fn set_anew(&mut self, id: SessionId) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        let mut positions = std::mem::take(&mut entry.positions);
        entry.due.clear();
        entry.announce.clear();
        entry.ready_due = false;
        let user = entry.session.user.clone();
        let Some(joined) = self.users.get(&user).map(User::joined) else {
            return;
        };
        for conversation in joined {
            if let Some(position) = positions.remove(&conversation) {
                self.start_due(id, &conversation, Some(position));
            } else {
                // What is on its way from an earlier position goes on: to jump to the tail would be
                // a silent hole.
                match self
                    .feed(&conversation)
                    .place(&user, id)
                    .map(|place| place.cursor.seq())
                {
                    None => self.start_due(id, &conversation, None),
                    Some(None) => self.await_live(id, &conversation, false),
                    Some(Some(_)) => {}
                }
            }
            self.ensure_interest(&user, &conversation);
        }
        self.start_foreign(id, positions);
        self.become_ready(id);
        self.note_stage(id);
    }

    /// Positions in conversations that the index does not have: the owner decides.
    fn start_foreign(&mut self, id: SessionId, positions: BTreeMap<ConversationName, Seq>) {
        let Some(user) = self
            .sessions
            .get(&id)
            .map(|entry| entry.session.user.clone())
        else {
            return;
        };
        for (conversation, seq) in positions {
            if let Some(known) = self.users.get_mut(&user) {
                known.memberships.entry(conversation.clone()).or_default();
            }
            self.await_live(id, &conversation, true);
            self.set_place(
                id,
                &conversation,
                Cursor::Behind {
                    seq,
                    cut: Cut::Once,
                },
                Origin::Position,
            );
            self.enqueue(id, &conversation);
        }
    }

    /// `ready` waits until the conversation is live, or ended; one that was `named` is told to be
    /// `live`.
    pub(super) fn await_live(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        named: bool,
    ) {
        if let Some(entry) = self.sessions.get_mut(&id) {
            entry.due.insert(conversation.clone(), named);
        }
    }

    fn start_due(&mut self, id: SessionId, conversation: &ConversationName, position: Option<Seq>) {
        self.await_live(id, conversation, position.is_some());
        self.start(id, conversation, position, Cut::Once);
    }

    /// Sets the session's cursor in a conversation anew.
    pub(super) fn start(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        position: Option<Seq>,
        cut: Cut,
    ) {
        let Some(user) = self
            .sessions
            .get(&id)
            .map(|entry| entry.session.user.clone())
        else {
            return;
        };
        let feed = self.feed(conversation);
        let subscribed = feed.member(&user).interest == Interest::Live;
        let tail = feed.known.filter(|_| subscribed);
        let cursor = Cursor::begin(position, tail, cut);
        self.set_place(id, conversation, cursor, Origin::Position);
        match cursor {
            Cursor::Live { .. } => self.settle(id, conversation, true),
            Cursor::Behind { .. } => self.enqueue(id, conversation),
            Cursor::Waiting { .. } => {}
        }
    }

    /// Sets the session's cursor right before the latest `joined` of its user, of whom nothing is
    /// known from `since` on: what the owner answers may set it back.
    pub(super) fn start_joined(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        joined: Seq,
        since: Seq,
    ) {
        let position = Some(Seq(joined.0.saturating_sub(1)));
        let cursor = Cursor::Waiting {
            position,
            cut: Cut::Once,
        };
        self.set_place(id, conversation, cursor, Origin::Joined { since });
    }

    /// Fetches what the session may still get after `since` of memberships that have ended since,
    /// or hears that it may not.
    pub(super) fn start_ended(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        since: Seq,
    ) {
        let cursor = Cursor::Behind {
            seq: since,
            cut: Cut::Never,
        };
        self.set_place(
            id,
            conversation,
            cursor,
            Origin::Memberships { inside: false },
        );
        self.enqueue(id, conversation);
    }

    /// Gives the session this cursor in a conversation, in the place of one that it may have.
    pub(super) fn set_place(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        cursor: Cursor,
        origin: Origin,
    ) {
        let Some(session) = self
            .sessions
            .get(&id)
            .map(|entry| Arc::clone(&entry.session))
        else {
            return;
        };
        self.note_place(id, conversation);
        let feed = self.feed(conversation);
        if let Some(place) = feed.place(&session.user, id) {
            (place.cursor, place.origin) = (cursor, origin);
        } else {
            let member = feed.member(&session.user);
            member.places.reserve_exact(1);
            member.places.push(Place {
                session,
                cursor,
                origin,
            });
        }
    }

    /// The conversation is no longer awaited: it is live, or ended.
    pub(super) fn settle(&mut self, id: SessionId, conversation: &ConversationName, live: bool) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        let named = entry.due.remove(conversation) == Some(true);
        if named && live {
            entry.announce.push(conversation.clone());
        }
        if entry.announce.len() >= LIVE_POSITIONS_MAX || entry.ready_due && entry.due.is_empty() {
            self.tell_progress(id);
        }
    }

    /// `ready` is told when nothing is awaited any more.
    pub(super) fn become_ready(&mut self, id: SessionId) {
        if let Some(entry) = self.sessions.get_mut(&id) {
            entry.ready_due = true;
        }
        self.tell_progress(id);
    }

    /// The session's outbox has room again.
    pub(super) fn has_room(&mut self, id: SessionId) {
        self.tell_progress(id);
        self.pump(id);
    }

    /// Tells what has caught up since, as far as there is room, and `ready` when nothing is awaited
    /// any more.
    pub(super) fn tell_progress(&mut self, id: SessionId) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        let session = Arc::clone(&entry.session);
        while !entry.announce.is_empty() {
            // Set before looking, so that a writer that makes room meanwhile is not missed.
            session.hungry.store(true, Ordering::SeqCst);
            if !session.has_room() {
                return;
            }
            let count = entry.announce.len().min(LIVE_POSITIONS_MAX);
            let positions: BTreeMap<_, _> = entry
                .announce
                .drain(..count)
                .filter_map(|name| {
                    let seq = self
                        .feeds
                        .get_mut(&name)?
                        .place(&session.user, id)?
                        .cursor
                        .seq()?;
                    Some((name, seq))
                })
                .collect();
            if !positions.is_empty() {
                let handles = positions
                    .keys()
                    .filter_map(|name| session.router.handle(name))
                    .collect();
                session.offer_telling(&ServerFrame::Live { positions }, Tells::Live(handles));
            }
        }
        if entry.ready_due && entry.due.is_empty() {
            (entry.ready_due, entry.is_quiet) = (false, false);
            entry.due.shrink_to_fit();
            entry.announce.shrink_to_fit();
            session.offer_telling(&ServerFrame::Ready {}, Tells::Ready);
        }
    }
}

impl User {
    /// The conversations he is in, as far as known.
    fn joined(&self) -> Vec<ConversationName> {
        self.memberships
            .iter()
            .filter(|(_, at)| at.joined)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The conversations they are in no more.
    fn out(&self) -> Vec<ConversationName> {
        self.memberships
            .iter()
            .filter(|(_, at)| !at.joined && at.seq > Seq(0))
            .map(|(name, _)| name.clone())
            .collect()
    }
}
