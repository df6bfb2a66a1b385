//! Who types: decided by the head like a write, and told without one. It waits for no commit, and
//! gives way to everything else.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::ids::{ConversationName, UserId};
use crate::log::record::{Event, EventKind};
use crate::problem::{Code, Problem};
use crate::protocol::CLOSE_PARTICIPANTS_MAX;
use crate::protocol::policy::Action;
use crate::shard::command::{Push, Typing};
use crate::shard::write::head::{Head, not_participant};
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::piece::WorkKind;
use crate::shard::write::typing::{Announce, TYPING_LASTS};
use crate::telemetry;

/// Work that may wait for the conversation before this does not any more.
const BEHIND_MAX: usize = 64;

/// Answers whether it is allowed.
pub(in crate::shard) type Answer = oneshot::Sender<Result<(), Problem>>;

impl Owner {
    /// Takes it in, unless others wait already.
    pub(super) fn take_typing(&mut self, typing: Typing, answer: Answer) {
        let waiting = self
            .conversations
            .get(&typing.conversation)
            .map_or(0, |state| state.waiting.len());
        if waiting >= BEHIND_MAX || self.too_many_wait() {
            telemetry::TYPING.add(1, &[("result", "dropped")]);
            answer.send(Ok(())).ok();
            return;
        }
        let Typing {
            conversation,
            user,
            on,
        } = typing;
        self.work(&conversation, WorkKind::Typing { user, on, answer });
    }

    /// Decides whether it is allowed, and tells the others.
    pub(super) fn decide_typing(
        &mut self,
        name: &ConversationName,
        user: &UserId,
        on: bool,
        answer: Answer,
    ) {
        let committed = self.appenders.messages.committed().offset;
        let Some(state) = self.conversations.get(name) else {
            return;
        };

        // Whether they may hangs on what may yet be taken back: nothing is told, and nothing
        // refused.
        let is_unsure = state.rights_change(user, committed);
        let allowed = if is_unsure {
            Ok(())
        } else {
            may_type(state.head(), user, self.now())
        };
        let result = match &allowed {
            Ok(()) if !is_unsure && self.announce_typing(name, user, on) => "announced",
            Ok(()) => "dropped",
            Err(_) => "refused",
        };

        telemetry::TYPING.add(1, &[("result", result)]);
        answer.send(allowed).ok();
    }

    fn announce_typing(&mut self, name: &ConversationName, user: &UserId, on: bool) -> bool {
        let now = self.setup.clock.since_boot();
        match self.typists.said(name, user, on, now) {
            Some(Announce::Types) => {
                let lasts = u64::try_from(TYPING_LASTS.as_millis()).unwrap_or_default();
                self.tell_typing(name, user, self.now() + lasts);
            }
            Some(Announce::Stopped) => self.tell_typing(name, user, self.now()),
            None => return false,
        }
        true
    }

    fn tell_typing(&mut self, name: &ConversationName, user: &UserId, until: u64) {
        let push = Push::Typing {
            conversation: name.clone(),
            user: user.clone(),
            until,
        };
        let missed = self.subscriptions.push_spare(name, &push, user);
        if missed > 0 {
            telemetry::PUSHES.add(
                u64::try_from(missed).unwrap_or(u64::MAX),
                &[("result", "spared")],
            );
        }
    }

    /// An event was told. Whoever sent a message types no more, which it says by itself; nor does
    /// one who left, or may not any more.
    pub(super) fn typing_ends(&mut self, event: &Event) {
        let now = self.setup.clock.since_boot();
        match &event.kind {
            EventKind::Message { source, .. } => {
                self.typists.ended(&event.conversation, source, now);
            }
            EventKind::Left { user, .. } if self.typists.ended(&event.conversation, user, now) => {
                self.tell_typing(&event.conversation, user, self.now());
            }
            EventKind::Role { .. } | EventKind::Updated { .. } | EventKind::Closed { .. } => {
                self.silence(&event.conversation, now);
            }
            EventKind::Created { .. }
            | EventKind::Joined { .. }
            | EventKind::Left { .. }
            | EventKind::Edited { .. }
            | EventKind::Deleted { .. } => {}
        }
    }

    /// Ends it of those who type and may not any more.
    fn silence(&mut self, name: &ConversationName, now: Duration) {
        let now_ms = self.now();
        let head = self.head(name);
        let typing = self.typists.of(name, now);
        let silenced: Vec<UserId> = typing
            .into_iter()
            .filter(|user| may_type(head, user, now_ms).is_err())
            .collect();
        for user in silenced {
            if self.typists.ended(name, &user, now) {
                self.tell_typing(name, &user, now_ms);
            }
        }
    }
}

fn may_type(head: Option<&Head>, user: &UserId, now_ms: u64) -> Result<(), Problem> {
    let head = head.ok_or_else(not_participant)?;
    head.may_write(user, Action::Type, now_ms)?;
    if head.participants.len() > CLOSE_PARTICIPANTS_MAX {
        let detail =
            format!("nobody is told who types where more than {CLOSE_PARTICIPANTS_MAX} take part");
        return Err(Problem::new(Code::TooManyParticipants, detail));
    }
    Ok(())
}
