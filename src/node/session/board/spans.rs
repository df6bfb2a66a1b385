//! What a session fetches when it is behind, and when: at the pace of its socket, and of several
//! shards side by side.

use std::ops::Bound;
use std::sync::atomic::Ordering;

use crate::ids::{ConversationName, SessionId, ShardId, UserId};
use crate::node::session::board::entries::{Feed, Spans, User};
use crate::node::session::board::interests::{Board, SPAN_LIMIT};
use crate::node::session::board::state::Cursor;
use crate::node::session::board::work::{Ask, Fetch};

/// Conversations fetched for one session at once.
const FETCH_CONVERSATIONS: usize = 16;

impl Board {
    /// The session has to fetch in this conversation when its outbox has room.
    pub(in crate::node::session) fn enqueue(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
    ) {
        if let Some(entry) = self.sessions.get_mut(&id) {
            let shard = self.map.shard_of(conversation.slot());
            entry
                .spans
                .entry(shard)
                .or_default()
                .queue
                .push_back(conversation.clone());
            self.pump(id);
        }
    }

    /// Fetches the next spans of a session if its outbox has room; else the writer calls again. One
    /// fetch a shard is under way, and in all of them so many conversations, beside those whose
    /// owner does not answer.
    pub(in crate::node::session) fn pump(&mut self, id: SessionId) {
        while let Some(shard) = self.next_to_fetch(id) {
            self.fetch(id, shard);
        }
    }

    /// The shard whose spans are fetched next, if there is one and room for them.
    fn next_to_fetch(&self, id: SessionId) -> Option<ShardId> {
        let entry = self.sessions.get(&id)?;
        let idle = |(_, spans): &(&ShardId, &Spans)| spans.fetching == 0 && !spans.queue.is_empty();
        let after = (Bound::Excluded(entry.asked), Bound::Unbounded);
        let mut in_turn = entry
            .spans
            .range(after)
            .chain(entry.spans.range(..=entry.asked));
        if entry.fetching >= FETCH_CONVERSATIONS {
            return None;
        }
        let (shard, _) = in_turn.find(idle)?;

        // Set before looking, so that a writer that makes room meanwhile is not missed.
        entry.session.hungry.store(true, Ordering::SeqCst);
        if !entry.session.has_room() {
            return None;
        }
        entry.session.hungry.store(false, Ordering::SeqCst);
        Some(*shard)
    }

    fn fetch(&mut self, id: SessionId, shard: ShardId) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        entry.asked = shard;
        let user = entry.session.user.clone();
        let Some(spans) = entry.spans.get_mut(&shard) else {
            return;
        };

        let mut asks: Vec<Ask> = Vec::new();
        while entry.fetching + asks.len() < FETCH_CONVERSATIONS {
            let Some(conversation) = spans.queue.pop_front() else {
                break;
            };
            let Some(known) = self.users.get(&user) else {
                break;
            };
            let Some(feed) = self.feeds.get_mut(&conversation) else {
                continue;
            };
            let Some(ask) = feed.ask_behind(known, (id, &user), conversation) else {
                continue;
            };
            if asks
                .iter()
                .any(|other| other.conversation == ask.conversation)
            {
                continue;
            }
            asks.push(ask);
        }

        if asks.is_empty() {
            entry
                .spans
                .retain(|_, of| of.fetching > 0 || !of.queue.is_empty());
            return;
        }

        let in_all = u32::try_from(entry.fetching + asks.len()).unwrap_or(SPAN_LIMIT);
        asks.iter_mut()
            .for_each(|ask| ask.limit = (SPAN_LIMIT / in_all).max(1));
        spans.fetching = asks.len();

        spans.late = spans.attempt > 0;
        if !spans.late {
            entry.fetching += asks.len();
        }

        let attempt = spans.attempt;
        self.work.fetches.push(Fetch {
            session: id,
            shard,
            asks,
            attempt,
        });
    }

    /// The owner does not answer promptly: what is behind elsewhere is fetched meanwhile.
    pub(in crate::node::session) fn span_is_late(&mut self, fetch: &Fetch) {
        let Some(entry) = self.sessions.get_mut(&fetch.session) else {
            return;
        };
        let Some(spans) = entry
            .spans
            .get_mut(&fetch.shard)
            .filter(|spans| !spans.late)
        else {
            return;
        };
        spans.late = true;
        entry.fetching = entry.fetching.saturating_sub(spans.fetching);
        self.pump(fetch.session);
    }

    /// The fetch is done; `any`: something came of it.
    pub(super) fn fetch_done(&mut self, fetch: &Fetch, any: bool) {
        let Some(entry) = self.sessions.get_mut(&fetch.session) else {
            return;
        };
        let spans = entry.spans.entry(fetch.shard).or_default();
        if !spans.late {
            entry.fetching = entry.fetching.saturating_sub(spans.fetching);
        }

        spans.fetching = 0;
        spans.late = false;
        spans.attempt = if any {
            0
        } else {
            fetch.attempt.saturating_add(1)
        };

        if spans.queue.is_empty() {
            entry.spans.remove(&fetch.shard);
        }
    }
}

impl Feed {
    /// What a session asks for next in this conversation, when it is behind there.
    fn ask_behind(
        &mut self,
        known: &User,
        (id, user): (SessionId, &UserId),
        conversation: ConversationName,
    ) -> Option<Ask> {
        let (round, floor) = (self.round, self.known);
        let place = self.place(user, id)?;
        let (Cursor::Behind { seq, .. }, since) = (place.cursor, place.since()) else {
            return None;
        };

        let (generation, told) = (known.generation, known.membership_seq(&conversation));
        let (after, limit, attempt, user) = (Some(seq), SPAN_LIMIT, 0, user.clone());
        Some(Ask {
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
        })
    }
}
