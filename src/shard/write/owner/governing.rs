//! What those who lead a conversation decide of it and of others (ADR 24): title, data and
//! settings, roles, mutes and bans.

use crate::ids::ConversationName;
use crate::log::record::{RETENTION_SINCE, ROLES_SINCE};
use crate::problem::Problem;
use crate::protocol::SettingsChange;
use crate::shard::command::{Ban, Done, SetParticipant, Unban, Update};
use crate::shard::write::head::Banned;
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::decide::Verdict;
use crate::shard::write::owner::input::Accepted;

impl Owner {
    pub(super) fn decide_update(&mut self, name: &ConversationName, update: &Update) -> Verdict {
        let event = self
            .on_head(name, |head, now_ms| head.decide_update(update, now_ms))
            .and_then(|event| self.if_all_read(event))
            .and_then(|event| match self.not_all_retain(&update.settings) {
                Some(problem) if event.is_some() => Err(problem),
                _ => Ok(event),
            });
        self.changed(name, event, (&update.by, Done::Updated))
    }

    pub(super) fn decide_set(&mut self, name: &ConversationName, set: &SetParticipant) -> Verdict {
        let event = self
            .on_head(name, |head, now_ms| head.decide_set(set, now_ms))
            .and_then(|event| self.if_all_read(event));
        let written = match event {
            Ok(event) => event.map(|event| self.append_event(event)),
            Err(problem) => return Verdict::Rests(self.members_changed(name), Err(problem)),
        };
        let shown = self
            .head(name)
            .and_then(|head| head.participant(&set.user, self.now()))
            .map(|participant| Accepted::Done(Done::Set(participant)))
            .ok_or_else(|| Problem::unavailable("the participant is not known now; retry"));
        match (written, shown) {
            (Some(offset), Ok(accepted)) => Verdict::Written(offset, accepted),
            (written, shown) => {
                Verdict::Rests(written.unwrap_or_else(|| self.last_touched(name)), shown)
            }
        }
    }

    pub(super) fn decide_ban(&mut self, name: &ConversationName, ban: &Ban) -> Verdict {
        let banned = self
            .on_head(name, |head, now_ms| head.decide_ban(ban, now_ms))
            .and_then(|banned| self.if_all_read(Some(banned)));
        match banned {
            Ok(Some(Banned::Removed(event))) => {
                let offset = self.append_event(event);
                let accepted = Accepted::Changed {
                    done: Done::Banned,
                    offset,
                    users: 1,
                };
                Verdict::Written(offset, accepted)
            }
            Ok(Some(Banned::Noted(change))) => {
                Verdict::Written(self.append_ban(change, true), Accepted::Done(Done::Banned))
            }
            Ok(None) => {
                Verdict::Rests(self.members_changed(name), Ok(Accepted::Done(Done::Banned)))
            }
            Err(problem) => Verdict::Rests(self.members_changed(name), Err(problem)),
        }
    }

    pub(super) fn decide_unban(&mut self, name: &ConversationName, unban: &Unban) -> Verdict {
        let ended = self
            .on_head(name, |head, now_ms| head.decide_unban(unban, now_ms))
            .and_then(|ended| self.if_all_read(ended));
        let done = || Accepted::Done(Done::Banned);
        match ended {
            Ok(Some(change)) => Verdict::Written(self.append_ban(change, false), done()),
            // The ban may have ended a moment ago, which is not committed yet.
            Ok(None) => Verdict::Rests(self.members_changed(name), Ok(done())),
            Err(problem) => Verdict::Rests(self.members_changed(name), Err(problem)),
        }
    }

    /// Why a retention is not set yet, if one is.
    pub(super) fn not_all_retain(&self, settings: &SettingsChange) -> Option<Problem> {
        self.not_all_read(RETENTION_SINCE)
            .filter(|_| !settings.retention_s.keeps())
    }

    /// Gives a change back, if there is one, once every node reads the records that it takes.
    fn if_all_read<T>(&self, change: Option<T>) -> Result<Option<T>, Problem> {
        match self.not_all_read(ROLES_SINCE).filter(|_| change.is_some()) {
            Some(problem) => Err(problem),
            None => Ok(change),
        }
    }
}
