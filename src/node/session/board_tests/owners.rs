//! A model of owners: conversations, memberships and indexes, and what is on its way to the node.

use super::*;
use crate::ids::{MessageId, Slot};

/// Conversations, memberships and indexes as their owners have them, and what is on its way to the
/// node.
#[derive(Default)]
pub(super) struct Owners {
    pub(super) histories: BTreeMap<ConversationName, Vec<Arc<Event>>>,
    /// Index rows of each user in the order of their versions.
    pub(super) indexes: HashMap<UserId, Vec<IndexItem>>,
    /// Interests registered for the node.
    pub(super) interests: HashMap<(ConversationName, UserId), ()>,
    pub(super) pushes: VecDeque<Push>,
    pub(super) epoch: u64,
    /// Pushes are being dropped until the node is told to subscribe again.
    pub(super) lagged: bool,
    /// The shards of users are not told: changes of indexes wait.
    pub(super) unheard: bool,
    pub(super) changes: VecDeque<(UserId, ConversationName, Seq, bool)>,
    /// Conversations that were deleted, with those who took part then.
    pub(super) closed: HashMap<ConversationName, BTreeSet<UserId>>,
}

impl Owners {
    pub(super) fn members(&self, name: &ConversationName) -> BTreeMap<UserId, Seq> {
        let mut members = BTreeMap::new();
        for event in self.histories.get(name).into_iter().flatten() {
            match &event.kind {
                EventKind::Created {
                    participants: users,
                    ..
                }
                | EventKind::Joined { users, .. } => {
                    members.extend(users.iter().map(|user| (user.clone(), event.seq)));
                }
                EventKind::Left { user, .. } => {
                    members.remove(user);
                }
                EventKind::Closed { .. } => members.clear(),
                EventKind::Message { .. }
                | EventKind::Edited { .. }
                | EventKind::Deleted { .. }
                | EventKind::Role { .. }
                | EventKind::Updated { .. } => {}
            }
        }

        members
    }

    /// The first time they were added after `left`.
    pub(super) fn joined_after(
        &self,
        name: &ConversationName,
        user: &UserId,
        left: Seq,
    ) -> Option<Seq> {
        let mut events = self
            .histories
            .get(name)?
            .iter()
            .filter(|event| event.seq > left);
        events
            .find(|event| matches!(&event.kind, EventKind::Joined { users, .. } if users.contains(user)))
            .map(|event| event.seq)
    }

    /// Their last `left` in between.
    fn left_within(
        &self,
        name: &ConversationName,
        of: &UserId,
        after: Seq,
        before: Seq,
    ) -> Option<Seq> {
        let within = |event: &&Arc<Event>| event.seq > after && event.seq < before;
        let left =
            |event: &&Arc<Event>| matches!(&event.kind, EventKind::Left { user, .. } if user == of);
        self.histories
            .get(name)?
            .iter()
            .filter(within)
            .rfind(left)
            .map(|event| event.seq)
    }

    /// Their last membership that ended, and whether there was another one since.
    fn departure(&self, name: &ConversationName, of: &UserId) -> Option<(Seq, Seq)> {
        let (mut joined, mut last) = (None, None);
        for event in self.histories.get(name).into_iter().flatten() {
            match &event.kind {
                EventKind::Created {
                    participants: users,
                    ..
                }
                | EventKind::Joined { users, .. }
                    if users.contains(of) =>
                {
                    joined = Some(event.seq);
                }
                EventKind::Left { user, .. } if user == of => {
                    last = joined.map(|at| (at, event.seq))
                }
                _ => {}
            }
        }

        last
    }

    /// Changes of indexes arrive: of each conversation the last one stands, and each is pushed.
    pub(super) fn tell_indexes(&mut self) {
        while let Some((user, name, seq, joined)) = self.changes.pop_front() {
            let rows = self.indexes.entry(user.clone()).or_default();
            let version = Offset(rows.last().map_or(0, |row| row.version.0) + 1);
            rows.retain(|row| row.conversation != name);
            let item = IndexItem {
                conversation: name,
                seq,
                joined,
                version,
            };
            rows.push(item.clone());
            self.push(Push::Index { user, item });
        }
    }

    pub(super) fn tail(&self, name: &ConversationName) -> Seq {
        Seq(self
            .histories
            .get(name)
            .map_or(0, |events| events.len() as u64))
    }

    pub(super) fn push(&mut self, push: Push) {
        if !self.lagged {
            self.pushes.push_back(push);
        }
    }

    pub(super) fn commit(&mut self, name: &ConversationName, kind: EventKind) {
        let seq = self.tail(name).next();
        let changed: Vec<_> = match &kind {
            EventKind::Created {
                participants: users,
                ..
            }
            | EventKind::Joined { users, .. } => {
                users.iter().map(|user| (user.clone(), true)).collect()
            }
            EventKind::Left { user, .. } => vec![(user.clone(), false)],
            EventKind::Closed { .. } => {
                let members = self.members(name).into_keys();
                members.map(|user| (user, false)).collect()
            }
            EventKind::Message { .. }
            | EventKind::Edited { .. }
            | EventKind::Deleted { .. }
            | EventKind::Role { .. }
            | EventKind::Updated { .. } => Vec::new(),
        };

        let event = Arc::new(Event {
            conversation: name.clone(),
            seq,
            created: seq.0,
            key: None,
            kind,
        });

        self.histories
            .entry(name.clone())
            .or_default()
            .push(Arc::clone(&event));
        if self.interests.keys().any(|(of, _)| of == name) {
            self.push(Push::Event {
                epoch: Epoch(self.epoch),
                event,
            });
        }

        for (user, joined) in changed {
            if !joined {
                self.interests.remove(&(name.clone(), user.clone()));
            }
            self.changes.push_back((user, name.clone(), seq, joined));
        }

        if !self.unheard {
            self.tell_indexes();
        }
    }

    pub(super) fn say(&mut self, name: &ConversationName, by: &UserId) {
        let id = MessageId::new(1, Slot(0), self.tail(name).0);
        let kind = EventKind::plain(id, by.clone(), "x");
        self.commit(name, kind);
    }

    /// The conversation is deleted; the members of then are kept.
    pub(super) fn close(&mut self, name: &ConversationName) {
        let members = self.members(name).into_keys().collect();
        self.closed.insert(name.clone(), members);
        self.commit(name, EventKind::Closed { by: user(0) });
    }

    /// What is answered of a conversation that was deleted.
    fn closed_to(&self, ask: &Ask, members: &BTreeSet<UserId>) -> Subscribed {
        let tail = self.tail(&ask.conversation);
        let has_seen = ask.after.is_some_and(|after| after >= tail);
        match self.histories[&ask.conversation].last() {
            Some(event) if members.contains(&ask.user) && !has_seen => Subscribed::Closed {
                event: Arc::clone(event),
            },
            _ => Subscribed::NotParticipant,
        }
    }

    pub(super) fn subscribe(&mut self, ask: &Ask) -> Subscribed {
        let tail = self.tail(&ask.conversation);
        if let Some(members) = self.closed.get(&ask.conversation) {
            return self.closed_to(ask, members);
        }
        let events = |upto: Seq| -> Vec<_> {
            let Some(after) = ask.after else {
                return Vec::new();
            };
            let history = self.histories.get(&ask.conversation).into_iter().flatten();
            let span = history.filter(|event| event.seq > after && event.seq <= upto);
            span.take(ask.limit as usize).cloned().collect()
        };

        if let Some(joined) = self.members(&ask.conversation).get(&ask.user) {
            let departure = self.departure(&ask.conversation, &ask.user);
            let departed = departure
                .map(|(_, left)| left)
                .filter(|left| ask.since.is_some_and(|since| *left > since));
            let answer = Subscribed::Live {
                pruned: Seq(0),
                tail,
                joined: *joined,
                events: events(tail),
                departed,
            };
            self.interests
                .insert((ask.conversation.clone(), ask.user.clone()), ());
            return answer;
        }

        let mut span = None;
        for event in self.histories.get(&ask.conversation).into_iter().flatten() {
            match &event.kind {
                EventKind::Created {
                    participants: users,
                    ..
                }
                | EventKind::Joined { users, .. }
                    if users.contains(&ask.user) =>
                {
                    span = Some((event.seq, event.seq));
                }
                EventKind::Left { user, .. } if *user == ask.user => {
                    span = span.map(|(joined, _)| (joined, event.seq));
                }
                _ => {}
            }
        }

        match (span, ask.after) {
            (Some((joined, left)), Some(after)) if after.next() >= joined && after < left => {
                let departed = ask.since.and_then(|since| {
                    self.left_within(&ask.conversation, &ask.user, since, joined)
                });
                Subscribed::Ended {
                    pruned: Seq(0),
                    left,
                    events: events(left),
                    departed,
                }
            }
            _ => Subscribed::NotParticipant,
        }
    }
}
