//! Conversations that begin, and who takes part in them.

use crate::ids::{ConversationName, Offset, UserId};
use crate::log::record::{Event, EventKind, ROLES_SINCE};
use crate::problem::Problem;
use crate::protocol::{Conversation, SettingsChange, direct};
use crate::shard::command::{Create, Done};
use crate::shard::write::head::{decide_create as begin_conversation, decide_create_again};
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::decide::Verdict;
use crate::shard::write::owner::input::Accepted;

impl Owner {
    pub(super) fn decide_create(&mut self, name: &ConversationName, create: &Create) -> Verdict {
        let users = u32::try_from(create.participants.len()).unwrap_or(u32::MAX);
        if direct::is_direct(name) && self.head(name).is_some() {
            return self.open(name, create);
        }
        if let Some(head) = self.head(name) {
            let offset = head.created_offset;
            let closed = head.closed.is_some();
            return match decide_create_again(head, create) {
                Ok(()) => {
                    let again = Accepted::Created {
                        view: head.view(name, &create.by, self.now()),
                        replayed: true,
                        offset,
                        users,
                    };
                    Verdict::Rests(self.last_touched(name), Ok(again))
                }
                Err(problem) if closed => {
                    Verdict::Rests(offset.max(self.members_changed(name)), Err(problem))
                }
                Err(problem) => Verdict::Rests(offset, Err(problem)),
            };
        }

        if let Some(problem) = self.not_all_read(ROLES_SINCE).filter(|_| create.has_more()) {
            return Verdict::Rests(Offset(0), Err(problem));
        }

        if let Some(problem) = self.not_all_retain(&SettingsChange::of(&create.settings)) {
            return Verdict::Rests(Offset(0), Err(problem));
        }

        let offset = self.append_event(begin_conversation(create, self.now()));
        match self.head(name) {
            Some(head) => Verdict::Written(
                offset,
                Accepted::Created {
                    view: head.view(name, &create.by, self.now()),
                    replayed: false,
                    offset,
                    users,
                },
            ),
            None => Verdict::Rests(
                offset,
                Err(Problem::unavailable(
                    "the conversation was not begun; retry",
                )),
            ),
        }
    }

    /// A conversation of two that is there: both take part again.
    fn open(&mut self, name: &ConversationName, create: &Create) -> Verdict {
        let now = self.now();
        let decided = self.head(name).map(|head| head.decide_open(create, now));
        let event = match decided.transpose() {
            Ok(event) => event.flatten(),
            Err(problem) => return Verdict::Rests(self.last_touched(name), Err(problem)),
        };

        let users = match event.as_ref().map(|event| &event.kind) {
            Some(EventKind::Joined { users, .. }) => users.len(),
            _ => 0,
        };
        let written = event.map(|event| self.append_event(event));
        let offset = written.unwrap_or_else(|| self.last_touched(name));
        let Some(head) = self.head(name) else {
            let problem = Problem::unavailable("the conversation was not opened; retry");
            return Verdict::Rests(offset, Err(problem));
        };
        let accepted = Accepted::Created {
            view: head.view(name, &create.by, now),
            replayed: true,
            offset,
            users: u32::try_from(users).unwrap_or(u32::MAX),
        };

        match written {
            Some(at) => Verdict::Written(at, accepted),
            None => Verdict::Rests(offset, Ok(accepted)),
        }
    }

    pub(super) fn changed(
        &mut self,
        name: &ConversationName,
        event: Result<Option<Event>, Problem>,
        (reader, done): (&UserId, impl FnOnce(Conversation) -> Done),
    ) -> Verdict {
        let event = match event {
            Ok(event) => event,
            Err(problem) => return Verdict::Rests(self.members_changed(name), Err(problem)),
        };
        let users = match event.as_ref().map(|event| &event.kind) {
            Some(EventKind::Joined { users, .. }) => u32::try_from(users.len()).unwrap_or(u32::MAX),
            Some(EventKind::Left { .. }) => 1,
            _ => 0,
        };

        let written = event.map(|event| self.append_event(event));
        let offset = written.unwrap_or_else(|| self.last_touched(name));
        let done = self
            .head(name)
            .map(|head| head.view(name, reader, self.now()))
            .map_or(Done::Removed, done);
        let accepted = Accepted::Changed {
            done,
            offset,
            users,
        };

        match written {
            Some(at) => Verdict::Written(at, accepted),
            None => Verdict::Rests(offset, Ok(accepted)),
        }
    }
}
