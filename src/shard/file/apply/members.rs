//! The messages stream: who takes part in a conversation and what they are there, who is banned
//! from it, and what its admin set (ADR 24).

use std::sync::Arc;

use crate::ids::{ConversationName, Offset, UserId};
use crate::log::record::{BanChange, Event, EventKind, OutboxPosition};
use crate::protocol::{Patch, Role, SettingsChange};
use crate::shard::file::apply::changes::{
    BanRow, Departure, EventRow, Joined, Rank, Update, event_row,
};
use crate::shard::file::apply::messages::{Fold, index_change};

impl Fold {
    pub(super) fn join(&mut self, offset: Offset, event: &Event, users: &[UserId]) {
        let creator = matches!(event.kind, EventKind::Created { .. }).then(|| event.actor());
        if creator.is_none() {
            self.changes.events.push(event_row(event, "joined"));
        }

        for (position, user) in (0_u32..).zip(users) {
            let joined = Joined {
                seq: event.seq,
                position,
                rank: rank_of(&event.kind, user),
            };
            let member = (event.conversation.clone(), user.clone());
            self.changes.ranks.remove(&member);
            self.changes.members.insert(member, Some(joined));
            let key = event
                .key
                .as_ref()
                .filter(|key| creator == Some(user) && !key.stamped);
            self.outbox(
                OutboxPosition {
                    offset,
                    index: position,
                },
                index_change(event, user, true, key.cloned()),
            );
        }
    }

    pub(super) fn leave(
        &mut self,
        offset: Offset,
        event: &Event,
        user: &UserId,
        admin: Option<&UserId>,
    ) {
        self.changes.events.push(event_row(event, "left"));
        let member = (event.conversation.clone(), user.clone());
        let changed = self.changes.ranks.remove(&member);
        let stood = match self.changes.members.get(&member) {
            Some(now) => now.map(|joined| (joined.seq, joined.rank)),
            None => self.known.joined.get(&member).copied(),
        };

        if let Some((joined, rank)) = stood {
            let departure = Departure {
                joined,
                left: event.seq,
                rank: changed.unwrap_or(rank),
            };
            if departure.rank.is_kept() {
                self.changes.keeping.insert(event.conversation.clone());
            }
            self.changes.departures.insert(member.clone(), departure);
        }

        self.changes.members.insert(member.clone(), None);
        self.changes.views.insert(member.clone(), None);
        if let Some(admin) = admin {
            self.take_office(&event.conversation, admin);
        }

        if let EventKind::Left {
            by,
            banned: true,
            reason,
            ..
        } = &event.kind
        {
            let row = BanRow {
                by: by.clone(),
                at: event.created,
                reason: reason.clone(),
            };
            self.changes.bans.insert(member, Some(row));
        }

        self.outbox(
            OutboxPosition { offset, index: 0 },
            index_change(event, user, false, None),
        );
    }

    /// Somebody is admin from now on, and not muted any more.
    fn take_office(&mut self, name: &ConversationName, user: &UserId) {
        self.changes.admins.insert(name.clone(), user.clone());
        self.rank(name, user, Rank::default());
    }

    fn rank(&mut self, name: &ConversationName, user: &UserId, rank: Rank) {
        let member = (name.clone(), user.clone());
        match self.changes.members.get_mut(&member) {
            Some(Some(joined)) => joined.rank = rank,
            // They are out.
            Some(None) => {}
            None => drop(self.changes.ranks.insert(member, rank)),
        }
    }

    pub(super) fn role(&mut self, event: &Event) {
        let EventKind::Role {
            by,
            user,
            role,
            muted_until,
        } = &event.kind
        else {
            return;
        };
        self.changes.events.push(event_row(event, "role"));

        let name = &event.conversation;
        if *role == Role::Admin {
            let before = Rank {
                role: Role::Moderator,
                muted_until: None,
            };
            self.rank(name, by, before);
            return self.take_office(name, user);
        }

        let rank = Rank {
            role: *role,
            muted_until: *muted_until,
        };
        self.rank(name, user, rank);
    }

    /// What a conversation begins with beside its title.
    pub(super) fn begun(&mut self, event: &Event) {
        let EventKind::Created { data, settings, .. } = &event.kind else {
            return;
        };
        let update = Update {
            title: Patch::Keep,
            data: data
                .clone()
                .map_or(Patch::Keep, |data| Patch::Set(Some(data))),
            settings: SettingsChange::of(settings),
        };
        self.update(&event.conversation, update);
    }

    pub(super) fn updated(&mut self, event: &Event) {
        let EventKind::Updated {
            title,
            data,
            settings,
            ..
        } = &event.kind
        else {
            return;
        };
        let row: EventRow = event_row(event, "updated");
        self.changes.events.push(row);

        let update = Update {
            title: title.clone(),
            data: data.clone(),
            settings: *settings,
        };
        self.update(&event.conversation, update);
    }

    fn update(&mut self, name: &ConversationName, update: Update) {
        if update != Update::default() {
            self.changes
                .updates
                .entry(name.clone())
                .or_default()
                .then(update);
        }
    }

    pub(super) fn banned(&mut self, ban: &BanChange) -> Result<(), String> {
        let row = BanRow {
            by: ban.by.clone(),
            at: ban.at,
            reason: ban.reason.as_ref().map(Arc::clone),
        };
        self.ban(ban, Some(row))
    }

    pub(super) fn unbanned(&mut self, ban: &BanChange) -> Result<(), String> {
        self.ban(ban, None)
    }

    fn ban(&mut self, ban: &BanChange, row: Option<BanRow>) -> Result<(), String> {
        let name = &ban.conversation;
        self.is_open(name)?;
        let place = (name.clone(), ban.user.clone());
        self.changes.bans.insert(place, row);
        Ok(())
    }
}

/// What a user is who is let in.
fn rank_of(kind: &EventKind, user: &UserId) -> Rank {
    let EventKind::Joined { readers, muted, .. } = kind else {
        return Rank::default();
    };
    let role = if readers.contains(user) {
        Role::Reader
    } else {
        Role::Member
    };
    let muted_until = muted
        .iter()
        .find(|(muted, _)| muted == user)
        .map(|(_, until)| *until);
    Rank { role, muted_until }
}
