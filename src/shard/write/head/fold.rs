//! The head itself: filled from the store, or begun by a creation, and advanced by each event.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::ids::{Offset, Seq, UserId};
use crate::log::record::{Event, EventKind, KeyUse};
use crate::protocol::{Patch, Role, Settings, direct};
use crate::shard::file::store::{HeadRow, KEPT_MAX, Recent, View};

/// Since when, and in which order, someone participates, and what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::shard) struct Standing {
    /// Seq of their latest `created` or `joined`.
    pub(in crate::shard) joined: Seq,
    /// Their place among the users of that event.
    pub(in crate::shard) position: u32,
    /// What they are; `member` of the admin.
    pub(in crate::shard) role: Role,
    /// Until when they are muted, unix milliseconds; 0 when they never were.
    pub(in crate::shard) muted_until: u64,
}

impl Standing {
    /// Whether it is kept of one who leaves.
    fn is_kept(&self) -> bool {
        self.role == Role::Reader || self.muted_until > 0
    }
}

/// One who left as a reader or muted, and is that again when they are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shard) struct Gone {
    /// Seq of their `left`.
    pub(in crate::shard) left: Seq,
    pub(in crate::shard) role: Role,
    pub(in crate::shard) muted_until: u64,
}

/// The fold of one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::shard) struct Head {
    /// Its title.
    pub(in crate::shard) title: Option<Arc<str>>,
    /// Its admin; the last one, when no one is left.
    pub(in crate::shard) admin: UserId,
    /// Unix milliseconds of its creation.
    pub(in crate::shard) created: u64,
    /// Who created it.
    pub(in crate::shard) created_by: UserId,
    /// Under which key.
    pub(in crate::shard) create_key: Option<KeyUse>,
    /// Offset of its `created` record.
    pub(in crate::shard) created_offset: Offset,
    /// Its last seq.
    pub(in crate::shard) last_seq: Seq,
    /// `created` of its last event.
    pub(in crate::shard) last_created: u64,
    /// The participants: this is the participant cache.
    pub(in crate::shard) participants: BTreeMap<UserId, Standing>,
    /// The newest messages, ascending.
    pub(in crate::shard) recent: VecDeque<Recent>,
    /// A JSON object, compact.
    pub(in crate::shard) data: Option<Arc<str>>,
    /// What its admin set.
    pub(in crate::shard) settings: Settings,
    /// Who is banned.
    pub(in crate::shard) banned: BTreeSet<UserId>,
    /// Who left as a reader or muted: at most [`KEPT_MAX`], those who left last.
    pub(in crate::shard) gone: BTreeMap<UserId, Gone>,
    /// It is of two.
    pub(in crate::shard) direct: bool,
    /// What participants set for themselves alone, of those who did.
    pub(in crate::shard) views: BTreeMap<UserId, View>,
    /// The last seq that is gone, as far as the file has it; 0 when none is.
    pub(in crate::shard) pruned: Seq,
    /// Nobody reacts any more to what is up to there: it is about to go. Never before `pruned`.
    pub(in crate::shard) quiet: Seq,
    /// It is closed, and these took part then; its last event is that.
    pub(in crate::shard) closed: Option<BTreeSet<UserId>>,
}

impl Head {
    /// From the store's rows.
    #[must_use]
    pub(in crate::shard) fn filled(row: HeadRow) -> Self {
        let members = row.members.into_iter().map(|member| {
            let standing = Standing {
                joined: member.joined,
                position: member.position,
                role: member.role,
                muted_until: member.muted_until.unwrap_or_default(),
            };
            (member.user, standing)
        });

        let gone = row.kept.into_iter().map(|kept| {
            let gone = Gone {
                left: kept.left,
                role: kept.role,
                muted_until: kept.muted_until.unwrap_or_default(),
            };
            (kept.user, gone)
        });

        Self {
            title: row.title,
            admin: row.admin,
            created: row.created,
            created_by: row.created_by,
            create_key: row.create_key,
            created_offset: row.created_offset,
            last_seq: row.last_seq,
            last_created: row.last_created,
            participants: members.collect(),
            recent: row.recent.into(),
            data: row.data,
            settings: row.settings,
            banned: row.banned.into_iter().collect(),
            gone: gone.collect(),
            direct: row.direct,
            views: row.views.into_iter().collect(),
            pruned: row.pruned,
            quiet: row.pruned,
            closed: row.closed.map(|users| users.into_iter().collect()),
        }
    }

    /// The head that a `created` event begins.
    #[must_use]
    pub(in crate::shard) fn begun(event: &Event, offset: Offset) -> Option<Self> {
        let EventKind::Created {
            by,
            title,
            participants,
            data,
            settings,
        } = &event.kind
        else {
            return None;
        };

        let mut head = Self {
            title: title.clone(),
            admin: by.clone(),
            created: event.created,
            created_by: by.clone(),
            create_key: event.key.clone(),
            created_offset: offset,
            last_seq: event.seq,
            last_created: event.created,
            participants: BTreeMap::new(),
            recent: VecDeque::new(),
            data: data.clone(),
            settings: *settings,
            banned: BTreeSet::new(),
            gone: BTreeMap::new(),
            direct: direct::is_direct(&event.conversation),
            views: BTreeMap::new(),
            pruned: Seq(0),
            quiet: Seq(0),
            closed: None,
        };

        head.join(participants, event.seq);
        Some(head)
    }

    fn join(&mut self, users: &[UserId], seq: Seq) {
        for (position, user) in (0_u32..).zip(users) {
            self.gone.remove(user);
            self.participants.entry(user.clone()).or_insert(Standing {
                joined: seq,
                position,
                role: Role::Member,
                muted_until: 0,
            });
        }
    }

    /// Takes in an event that was decided against this head.
    pub(in crate::shard) fn advance(&mut self, event: &Event) {
        self.last_seq = event.seq;
        self.last_created = event.created;

        match &event.kind {
            EventKind::Created { .. } => {}
            EventKind::Message { .. } | EventKind::Edited { .. } | EventKind::Deleted { .. } => {
                self.note_recent(event);
            }
            EventKind::Joined {
                users,
                readers,
                muted,
                ..
            } => {
                self.join(users, event.seq);
                for user in readers {
                    self.stand(user, |standing| standing.role = Role::Reader);
                }
                for (user, until) in muted {
                    self.stand(user, |standing| standing.muted_until = *until);
                }
            }
            EventKind::Left {
                user,
                admin,
                banned,
                ..
            } => self.leave(event.seq, user, (admin.as_ref(), *banned)),
            EventKind::Role {
                by,
                user,
                role,
                muted_until,
            } => self.rank(by, user, (*role, muted_until.unwrap_or_default())),
            EventKind::Updated {
                title,
                data,
                settings,
                ..
            } => {
                if let Patch::Set(title) = title {
                    self.title.clone_from(title);
                }
                if let Patch::Set(data) = data {
                    self.data.clone_from(data);
                }
                self.settings = self.settings.with(settings);
            }
            EventKind::Closed { by } => self.close(by),
        }
    }

    fn stand(&mut self, user: &UserId, change: impl FnOnce(&mut Standing)) {
        if let Some(standing) = self.participants.get_mut(user) {
            change(standing);
        }
    }

    fn leave(&mut self, seq: Seq, user: &UserId, (admin, banned): (Option<&UserId>, bool)) {
        let stood = self.participants.remove(user);
        self.views.remove(user);
        if let Some(stood) = stood.filter(Standing::is_kept) {
            self.keep(seq, user, stood);
        }
        if banned {
            self.banned.insert(user.clone());
        }
        if let Some(admin) = admin {
            self.take_office(admin);
        }
    }

    /// Keeps what one was who left; of too many, those who left first are forgotten.
    fn keep(&mut self, seq: Seq, user: &UserId, stood: Standing) {
        let gone = Gone {
            left: seq,
            role: stood.role,
            muted_until: stood.muted_until,
        };
        self.gone.insert(user.clone(), gone);
        if self.gone.len() > KEPT_MAX {
            let first = self.gone.iter().min_by_key(|(_, of)| of.left);
            let first = first.map(|(who, _)| who.clone());
            first.and_then(|who| self.gone.remove(&who));
        }
    }

    fn rank(&mut self, by: &UserId, user: &UserId, (role, muted_until): (Role, u64)) {
        if role == Role::Admin {
            self.stand(by, |before| {
                (before.role, before.muted_until) = (Role::Moderator, 0);
            });
            return self.take_office(user);
        }
        self.stand(user, |standing| {
            (standing.role, standing.muted_until) = (role, muted_until);
        });
    }

    /// They are admin from now on, and not muted any more.
    fn take_office(&mut self, user: &UserId) {
        self.admin = user.clone();
        self.stand(user, |standing| {
            (standing.role, standing.muted_until) = (Role::Member, 0);
        });
    }

    /// The file has nothing any more up to a seq.
    pub(in crate::shard) fn prune(&mut self, up_to: Seq) {
        self.pruned = up_to.max(self.pruned);
        self.quiet = self.pruned.max(self.quiet);
        while self
            .recent
            .pop_front_if(|recent| recent.seq <= up_to)
            .is_some()
        {}
    }

    /// A user is banned who takes no part, or is not any more.
    pub(in crate::shard) fn ban(&mut self, user: &UserId, banned: bool) {
        if banned {
            self.banned.insert(user.clone());
        } else {
            self.banned.remove(user);
        }
    }

    /// Whether someone participates.
    #[must_use]
    pub(in crate::shard) fn has(&self, user: &UserId) -> bool {
        self.participants.contains_key(user)
    }

    /// What a participant set for themselves alone.
    #[must_use]
    pub(in crate::shard) fn own_view(&self, user: &UserId) -> View {
        self.views.get(user).copied().unwrap_or_default()
    }

    /// Whether someone may send, as far as that is for participants.
    #[must_use]
    pub(in crate::shard) fn may_send(&self, user: &UserId) -> bool {
        self.has(user)
    }

    /// Role of a participant; `None` of one who is none.
    #[must_use]
    pub(in crate::shard) fn role(&self, user: &UserId) -> Option<Role> {
        let standing = self.participants.get(user)?;
        Some(self.role_of(user, standing))
    }

    /// Role of the participant who stands so.
    #[must_use]
    pub(in crate::shard) fn role_of(&self, user: &UserId, standing: &Standing) -> Role {
        if self.admin == *user {
            Role::Admin
        } else {
            standing.role
        }
    }
}
