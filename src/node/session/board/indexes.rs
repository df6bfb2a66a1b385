//! The index of a user is read, page by page: their sessions start when it is complete.

use crate::ids::UserId;
use crate::node::session::board::Board;
use crate::node::session::board::entries::Membership;
use crate::node::session::board::work::Load;
use crate::shard::IndexPage;

impl Board {
    /// A page of a user's index came. When there is nobody for it any more, its interest is ended.
    pub(in crate::node::session) fn loaded(&mut self, load: &Load, page: &IndexPage) {
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

    /// A user's index could not be read: asked again while they have sessions.
    pub(in crate::node::session) fn load_failed(&mut self, load: Load) {
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
}
