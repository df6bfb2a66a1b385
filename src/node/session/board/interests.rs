//! The board itself: everything live on this node, and what it is subscribed to or asks for.
//!
//! **Invariant.** Every conversation of a user with sessions is either subscribed or being asked
//! for.

use std::collections::HashMap;

use crate::cluster::map::ShardMap;
use crate::ids::{ConversationName, Epoch, SessionId, ShardId, UserId};
use crate::node::session::board::entries::{Entry, Feed, Interest, User};
use crate::node::session::board::standing::Noted;
use crate::node::session::board::watching::Watching;
use crate::node::session::board::work::{Ask, Load, Work};

/// Events asked for at once.
pub(super) const SPAN_LIMIT: u32 = 200;

/// Everything live on this node.
#[derive(Debug)]
pub(in crate::node::session) struct Board {
    pub(in crate::node::session) map: ShardMap,
    pub(in crate::node::session) users: HashMap<UserId, User>,
    pub(in crate::node::session) feeds: HashMap<ConversationName, Feed>,
    pub(in crate::node::session) sessions: HashMap<SessionId, Entry>,
    pub(in crate::node::session) work: Work,
    pub(in crate::node::session) generations: u64,
    /// Whose standing has changed, and is to be told.
    pub(in crate::node::session) noted: Vec<Noted>,
    /// Who is watched.
    pub(in crate::node::session) watching: Watching,
}

impl Board {
    /// A board without sessions.
    pub(in crate::node::session) fn new(map: ShardMap) -> Self {
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
    pub(in crate::node::session) fn take_work(&mut self) -> Work {
        std::mem::take(&mut self.work)
    }

    /// Pushes of a shard were lost or its owner changes: everything of it is asked for again. Of
    /// each conversation the first answer also brings what was missed, for all.
    pub(super) fn resubscribe(&mut self, shard: ShardId) {
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
    pub(in crate::node::session) fn wants(&self, ask: &Ask) -> bool {
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
    pub(in crate::node::session) fn wants_index(&self, load: &Load) -> bool {
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
    pub(in crate::node::session) fn feed(&mut self, conversation: &ConversationName) -> &mut Feed {
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
}
