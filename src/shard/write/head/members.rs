//! What participants do to others: they add, remove, mute and ban them, and give them roles.

use std::collections::HashSet;

use crate::ids::UserId;
use crate::log::record::{BanChange, Event, EventKind};
use crate::problem::{Code, Problem};
use crate::protocol::policy::Action;
use crate::protocol::{BANS_MAX, PARTICIPANTS_MAX, Patch, Role};
use crate::shard::command::{Add, Ban, Remove, SetParticipant, Unban};
use crate::shard::write::head::fold::Head;
use crate::shard::write::head::refusal::{banned, participant_unknown};

/// What a ban comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::shard) enum Banned {
    /// The user took part, and is removed.
    Removed(Event),
    /// The user takes no part.
    Noted(BanChange),
}

impl Head {
    /// The `joined` event for those who are not in yet; `None` when all are. Nobody is added when
    /// one of them is banned.
    ///
    /// # Errors
    /// `not_participant`, `forbidden`, `banned`, `invalid` beyond the most participants.
    pub(in crate::shard) fn decide_add(
        &self,
        add: &Add,
        now_ms: u64,
    ) -> Result<Option<Event>, Problem> {
        let role = self.may(&add.by, Action::Add)?;
        let mut users: Vec<UserId> = Vec::new();
        let mut seen = HashSet::new();
        for user in &add.users {
            if !self.has(user) && seen.insert(user) {
                users.push(user.clone());
            }
        }
        if users.is_empty() {
            return Ok(None);
        }
        if let Some(user) = users.iter().find(|user| self.banned.contains(*user)) {
            return Err(banned(user));
        }
        if self.participants.len() + users.len() > PARTICIPANTS_MAX {
            let detail = format!("a conversation has at most {PARTICIPANTS_MAX} participants");
            return Err(Problem::new(Code::Invalid, detail));
        }

        let event = self.event(
            &add.conversation,
            now_ms,
            None,
            EventKind::joined(add.by.clone(), users),
        );
        Ok(Some(self.as_they_were(event, role)))
    }

    /// Whoever left muted is muted again, and whoever left as a reader is one again, unless one who
    /// leads adds them.
    fn as_they_were(&self, mut event: Event, by: Role) -> Event {
        let leads = matches!(by, Role::Admin | Role::Moderator);
        let at = event.created;

        if let EventKind::Joined {
            users,
            readers,
            muted,
            ..
        } = &mut event.kind
        {
            for user in users.iter() {
                let Some(gone) = self.gone.get(user) else {
                    continue;
                };
                if gone.role == Role::Reader && !leads {
                    readers.push(user.clone());
                }
                if gone.muted_until > at {
                    muted.push((user.clone(), gone.muted_until));
                }
            }
        }

        event
    }

    /// The `left` event; `None` when the user is no participant anyway.
    ///
    /// # Errors
    /// `not_participant`, `forbidden`.
    pub(in crate::shard) fn decide_remove(
        &self,
        remove: &Remove,
        now_ms: u64,
    ) -> Result<Option<Event>, Problem> {
        let target = self.role(&remove.user);
        if self.is_closed_to(&remove.by) {
            return Err(self.refusal(&remove.by));
        }
        if remove.by != remove.user {
            self.may(&remove.by, Action::Remove(target.unwrap_or_default()))?;
        }
        if target.is_none() {
            return Ok(None);
        }
        let admin = self.successor(&remove.user);
        let kind = EventKind::left(remove.by.clone(), remove.user.clone(), admin);
        Ok(Some(self.event(&remove.conversation, now_ms, None, kind)))
    }

    /// Who is admin when `gone` leaves, if that changes: of the moderators, else of the members,
    /// else of the readers, who has been in for the longest time.
    fn successor(&self, gone: &UserId) -> Option<UserId> {
        if self.admin != *gone {
            return None;
        }
        let others = self.participants.iter().filter(|(user, _)| *user != gone);
        others
            .min_by_key(|(_, standing)| (standing.role, **standing))
            .map(|(user, _)| user.clone())
    }

    /// The `role` event; `None` when all that is asked for is so already.
    ///
    /// # Errors
    /// `not_participant`, `invalid`, `forbidden`, `participant_unknown`.
    pub(in crate::shard) fn decide_set(
        &self,
        set: &SetParticipant,
        now_ms: u64,
    ) -> Result<Option<Event>, Problem> {
        if !self.has(&set.by) {
            return Err(self.refusal(&set.by));
        }
        let now = now_ms.max(self.last_created);
        let target = self.participants.get(&set.user);
        let is_muted = target.and_then(|standing| standing.muted(now));
        // A field that equals what is counts as not given.
        let muted = match &set.muted_until {
            Patch::Keep => Patch::Keep,
            Patch::Set(given) => Patch::Set(given.filter(|until| *until > now)).but_for(&is_muted),
        };
        if set.by == set.user && !muted.keeps() {
            return Err(invalid(
                "nobody mutes themselves, or ends that they are muted",
            ));
        }
        // Whoever may do nothing of this is told so, whatever is asked for and of whom.
        self.may(&set.by, Action::Mute(Role::Member))?;
        let target = target.ok_or_else(|| participant_unknown(&set.user))?;
        let is = self.role_of(&set.user, target);
        let role = set.role.filter(|role| *role != is);

        if let Some(role) = role {
            self.may(&set.by, Action::GiveRole)?;
            if is == Role::Admin {
                return Err(invalid(
                    "the admin names the next one: give the role admin to another participant",
                ));
            }
            if role == Role::Admin && muted.set().is_some_and(Option::is_some) {
                return Err(invalid("an admin is not muted"));
            }
        }
        if !muted.keeps() {
            self.may(&set.by, Action::Mute(is))?;
        }
        if role.is_none() && muted.keeps() {
            return Ok(None);
        }

        let role = role.unwrap_or(is);
        let muted_until = match muted {
            _ if role == Role::Admin => None,
            Patch::Keep => is_muted,
            Patch::Set(until) => until,
        };
        let kind = EventKind::Role {
            by: set.by.clone(),
            user: set.user.clone(),
            role,
            muted_until,
        };
        Ok(Some(self.event(&set.conversation, now_ms, None, kind)))
    }

    /// What a ban comes to. One who is banned already is banned for another reason.
    ///
    /// # Errors
    /// `not_participant`, `invalid`, `forbidden`, `too_many_bans`.
    pub(in crate::shard) fn decide_ban(&self, ban: &Ban, now_ms: u64) -> Result<Banned, Problem> {
        if !self.has(&ban.by) {
            return Err(self.refusal(&ban.by));
        }
        if ban.by == ban.user {
            return Err(invalid("nobody bans themselves: leave instead"));
        }
        let target = self.role(&ban.user);
        self.may(&ban.by, Action::Ban(target.unwrap_or_default()))?;
        if self.banned.len() >= BANS_MAX && !self.banned.contains(&ban.user) {
            let detail = format!("a conversation has at most {BANS_MAX} bans; end some");
            return Err(Problem::new(Code::TooManyBans, detail));
        }

        if target.is_none() {
            return Ok(Banned::Noted(BanChange {
                conversation: ban.conversation.clone(),
                user: ban.user.clone(),
                by: ban.by.clone(),
                reason: ban.reason.clone(),
                at: now_ms.max(self.last_created),
            }));
        }
        let kind = EventKind::Left {
            by: ban.by.clone(),
            user: ban.user.clone(),
            admin: None,
            banned: true,
            reason: ban.reason.clone(),
        };
        Ok(Banned::Removed(self.event(
            &ban.conversation,
            now_ms,
            None,
            kind,
        )))
    }

    /// The end of a ban; `None` when there is none.
    ///
    /// # Errors
    /// `not_participant`, `forbidden`.
    pub(in crate::shard) fn decide_unban(
        &self,
        unban: &Unban,
        now_ms: u64,
    ) -> Result<Option<BanChange>, Problem> {
        self.may(&unban.by, Action::Unban)?;
        let is_banned = self.banned.contains(&unban.user);
        Ok(is_banned.then(|| BanChange {
            conversation: unban.conversation.clone(),
            user: unban.user.clone(),
            by: unban.by.clone(),
            reason: None,
            at: now_ms.max(self.last_created),
        }))
    }
}

fn invalid(detail: &'static str) -> Problem {
    Problem::new(Code::Invalid, detail)
}
