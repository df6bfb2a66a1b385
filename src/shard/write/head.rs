//! The head of a conversation: the fold of the log up to the end of the batch being built. Every
//! command is decided against it and advances it at once, before the append answers, so that a
//! removal holds for the next request. Pure: time and randomness come in, events come out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::ids::{ConversationName, IdempotencyKey, MessageId, Offset, Seq, UserId};
use crate::log::record::{Content, Event, EventKind, Fingerprint, KeyUse};
use crate::problem::{Code, Problem};
use crate::protocol::{Conversation, PARTICIPANTS_MAX, PARTICIPANTS_SHOWN_MAX, Participant, Role};
use crate::shard::command::{Add, Create, Remove, Send};
use crate::shard::file::store::HeadRow;
use crate::shard::write::message::mentioned;

/// How many of the newest messages are kept with their authors, to know whom a watermark concerns.
pub(in crate::shard) const RECENT_MAX: usize = 200;

/// Since when, and in which order, someone participates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::shard) struct Standing {
    /// Seq of his latest `created` or `joined`.
    pub(in crate::shard) joined: Seq,
    /// His place among the users of that event.
    pub(in crate::shard) position: u32,
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
    /// Seq and author of the newest messages, ascending.
    pub(in crate::shard) recent: VecDeque<(Seq, UserId)>,
}

fn key_use(key: Option<&IdempotencyKey>, fingerprint: Fingerprint) -> Option<KeyUse> {
    key.map(|key| KeyUse {
        key: Arc::clone(&key.key),
        stamped: key.stamped,
        fingerprint,
    })
}

/// The refusal of whoever is no participant, the same whether or not the conversation exists.
#[must_use]
pub(in crate::shard) fn not_participant() -> Problem {
    Problem::new(
        Code::NotParticipant,
        "you are no participant of this conversation, or it does not exist",
    )
}

impl Head {
    /// From the store's rows.
    #[must_use]
    pub(in crate::shard) fn filled(row: HeadRow) -> Self {
        let standing = |joined, position| Standing { joined, position };
        Self {
            title: row.title,
            admin: row.admin,
            created: row.created,
            created_by: row.created_by,
            create_key: row.create_key,
            created_offset: row.created_offset,
            last_seq: row.last_seq,
            last_created: row.last_created,
            participants: row
                .members
                .into_iter()
                .map(|m| (m.user, standing(m.joined, m.position)))
                .collect(),
            recent: row.recent.into(),
        }
    }

    /// The head that a `created` event begins.
    #[must_use]
    pub(in crate::shard) fn begun(event: &Event, offset: Offset) -> Option<Self> {
        let EventKind::Created {
            by,
            title,
            participants,
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
        };
        head.join(participants, event.seq);
        Some(head)
    }

    fn join(&mut self, users: &[UserId], seq: Seq) {
        for (position, user) in (0_u32..).zip(users) {
            self.participants.entry(user.clone()).or_insert(Standing {
                joined: seq,
                position,
            });
        }
    }

    /// Takes in an event that was decided against this head.
    pub(in crate::shard) fn advance(&mut self, event: &Event) {
        self.last_seq = event.seq;
        self.last_created = event.created;
        match &event.kind {
            EventKind::Created { .. } | EventKind::Edited { .. } | EventKind::Deleted { .. } => {}
            EventKind::Message { source, .. } => {
                self.recent.push_back((event.seq, source.clone()));
                if self.recent.len() > RECENT_MAX {
                    self.recent.pop_front();
                }
            }
            EventKind::Joined { users, .. } => self.join(users, event.seq),
            EventKind::Left { user, admin, .. } => {
                self.participants.remove(user);
                if let Some(admin) = admin {
                    self.admin = admin.clone();
                }
            }
        }
    }

    /// Whether someone participates.
    #[must_use]
    pub(in crate::shard) fn has(&self, user: &UserId) -> bool {
        self.participants.contains_key(user)
    }

    /// Whether someone may send.
    #[must_use]
    pub(in crate::shard) fn may_send(&self, user: &UserId) -> bool {
        self.has(user)
    }

    /// The next event of the conversation.
    pub(in crate::shard) fn event(
        &self,
        conversation: &ConversationName,
        now_ms: u64,
        key: Option<KeyUse>,
        kind: EventKind,
    ) -> Event {
        Event {
            conversation: conversation.clone(),
            seq: self.last_seq.next(),
            created: now_ms.max(self.last_created),
            key,
            kind,
        }
    }

    /// The `message` event of a send by a participant; idempotency and `reply_to` were checked
    /// before.
    ///
    /// # Errors
    /// `not_participant`.
    pub(in crate::shard) fn decide_send(
        &self,
        send: &Send,
        fingerprint: Fingerprint,
        now_ms: u64,
        random: u64,
    ) -> Result<Event, Problem> {
        if !self.may_send(&send.source) {
            return Err(not_participant());
        }
        let id = MessageId::new(
            now_ms.max(self.last_created),
            send.conversation.slot(),
            random,
        );
        let mentions = mentioned(&send.mentions, |user| self.has(user));
        let content = Content {
            text: Arc::clone(&send.text),
            data: send.data.clone(),
            mentions,
        };
        let kind = EventKind::message(id, send.source.clone(), content, send.reply_to);
        Ok(self.event(
            &send.conversation,
            now_ms,
            key_use(send.key.as_ref(), fingerprint),
            kind,
        ))
    }

    /// The `joined` event for those who are not in yet; `None` when all are.
    ///
    /// # Errors
    /// `not_participant`, `forbidden`, `invalid` beyond the most participants.
    pub(in crate::shard) fn decide_add(
        &self,
        add: &Add,
        now_ms: u64,
    ) -> Result<Option<Event>, Problem> {
        if !self.has(&add.by) {
            return Err(not_participant());
        }
        if self.admin != add.by {
            return Err(Problem::new(
                Code::Forbidden,
                "only the admin may add participants",
            ));
        }
        let mut users: Vec<UserId> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for user in &add.users {
            if !self.has(user) && seen.insert(user) {
                users.push(user.clone());
            }
        }
        if users.is_empty() {
            return Ok(None);
        }
        if self.participants.len() + users.len() > PARTICIPANTS_MAX {
            let detail = format!("a conversation has at most {PARTICIPANTS_MAX} participants");
            return Err(Problem::new(Code::Invalid, detail));
        }
        Ok(Some(self.event(
            &add.conversation,
            now_ms,
            None,
            EventKind::Joined {
                by: add.by.clone(),
                users,
            },
        )))
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
        let leaves = remove.by == remove.user;
        if !leaves {
            if !self.has(&remove.by) {
                return Err(not_participant());
            }
            if self.admin != remove.by {
                return Err(Problem::new(
                    Code::Forbidden,
                    "only the admin may remove others",
                ));
            }
        }
        if !self.has(&remove.user) {
            return Ok(None);
        }
        let admin = if self.admin == remove.user {
            self.successor(&remove.user)
        } else {
            None
        };
        let kind = EventKind::Left {
            by: remove.by.clone(),
            user: remove.user.clone(),
            admin,
        };
        Ok(Some(self.event(&remove.conversation, now_ms, None, kind)))
    }

    /// The longest-standing participant but `gone`.
    fn successor(&self, gone: &UserId) -> Option<UserId> {
        let others = self.participants.iter().filter(|(user, _)| *user != gone);
        others
            .min_by_key(|(_, standing)| **standing)
            .map(|(user, _)| user.clone())
    }

    /// Role of a participant.
    #[must_use]
    pub(in crate::shard) fn role(&self, user: &UserId) -> Role {
        if self.admin == *user {
            Role::Admin
        } else {
            Role::Member
        }
    }

    /// As clients see it.
    #[must_use]
    pub(in crate::shard) fn view(&self, name: &ConversationName) -> Conversation {
        let shown = self.participants.keys().take(PARTICIPANTS_SHOWN_MAX);
        let participants = shown
            .map(|user| Participant {
                name: user.clone(),
                role: self.role(user),
            })
            .collect();
        Conversation {
            name: name.clone(),
            title: self.title.as_deref().map(str::to_owned),
            admin: self.admin.clone(),
            created: self.created,
            last_seq: self.last_seq,
            participants_count: self.participants.len() as u64,
            participants: Some(participants),
        }
    }
}

/// The `created` event of a conversation that does not exist yet.
#[must_use]
pub(in crate::shard) fn decide_create(create: &Create, now_ms: u64) -> Event {
    Event {
        conversation: create.name.clone(),
        seq: Seq(1),
        created: now_ms,
        key: key_use(create.key.as_ref(), create.fingerprint),
        kind: EventKind::Created {
            by: create.by.clone(),
            title: create.title.clone(),
            participants: create.participants.clone(),
        },
    }
}

/// What creating a name that is in use comes to: the same request again, or a refusal.
///
/// # Errors
/// `name_taken`, or `idempotency_conflict` for the same key with another request.
pub(in crate::shard) fn decide_create_again(head: &Head, create: &Create) -> Result<(), Problem> {
    let same_key = match (&head.create_key, &create.key) {
        (Some(used), Some(key)) => head.created_by == create.by && used.key == key.key,
        _ => false,
    };
    match (same_key, &head.create_key) {
        (true, Some(used)) if used.fingerprint == create.fingerprint => Ok(()),
        (true, _) => Err(idempotency_conflict()),
        (false, _) => Err(Problem::new(
            Code::NameTaken,
            "a conversation of this name exists; choose another name or leave it out",
        )),
    }
}

/// The refusal of another request under a used key.
#[must_use]
pub(in crate::shard) fn idempotency_conflict() -> Problem {
    Problem::new(
        Code::IdempotencyConflict,
        "this Idempotency-Key was used for another request; use a new key",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::file::store::tests::{conversation, user};

    fn begun(users: &[&str]) -> Head {
        let create = Create {
            name: conversation("c"),
            by: user(users[0]),
            title: None,
            participants: users.iter().map(|name| user(name)).collect(),
            key: IdempotencyKey::from_client("key"),
            fingerprint: [1; 16],
        };
        Head::begun(&decide_create(&create, 100), Offset(7)).expect("a creation")
    }

    fn add(head: &mut Head, by: &str, users: &[&str]) -> Result<bool, Code> {
        let users = users.iter().map(|name| user(name)).collect();
        let add = Add {
            conversation: conversation("c"),
            by: user(by),
            users,
        };
        let event = head.decide_add(&add, 200).map_err(|problem| problem.code)?;
        Ok(event.map(|event| head.advance(&event)).is_some())
    }

    fn remove(head: &mut Head, by: &str, whom: &str) -> Result<bool, Code> {
        let remove = Remove {
            conversation: conversation("c"),
            by: user(by),
            user: user(whom),
        };
        let event = head
            .decide_remove(&remove, 200)
            .map_err(|problem| problem.code)?;
        Ok(event.map(|event| head.advance(&event)).is_some())
    }

    fn send(head: &mut Head, source: &str, now_ms: u64) -> Result<Event, Code> {
        let send = Send::plain(conversation("c"), user(source), "hello");
        let event = head
            .decide_send(&send, [0; 16], now_ms, now_ms)
            .map_err(|problem| problem.code)?;
        head.advance(&event);
        Ok(event)
    }

    #[test]
    fn only_participants_write_and_each_change_takes_the_next_seq() {
        let mut head = begun(&["alice", "bob"]);
        assert_eq!(head.last_seq, Seq(1));
        assert_eq!(send(&mut head, "bob", 300).expect("in").seq, Seq(2));
        assert_eq!(send(&mut head, "carol", 300), Err(Code::NotParticipant));
        assert_eq!(add(&mut head, "alice", &["carol"]), Ok(true));
        assert_eq!(send(&mut head, "carol", 300).expect("in").seq, Seq(4));
        assert_eq!(remove(&mut head, "alice", "carol"), Ok(true));
        assert_eq!(send(&mut head, "carol", 300), Err(Code::NotParticipant));
        assert_eq!(send(&mut head, "alice", 300).expect("in").seq, Seq(6));
    }

    #[test]
    fn the_time_of_an_event_is_never_before_the_one_of_the_event_before() {
        let mut head = begun(&["alice"]);
        let times = [500, 400, 0, 501].map(|now_ms| send(&mut head, "alice", now_ms).expect("in"));
        assert_eq!(
            times.each_ref().map(|event| event.created),
            [500, 500, 500, 501]
        );
    }

    #[test]
    fn only_the_admin_adds_and_removes_others_and_anyone_leaves() {
        let mut head = begun(&["alice", "bob", "carol"]);
        assert_eq!(add(&mut head, "bob", &["dave"]), Err(Code::Forbidden));
        assert_eq!(
            add(&mut head, "stranger", &["dave"]),
            Err(Code::NotParticipant)
        );
        assert_eq!(remove(&mut head, "bob", "carol"), Err(Code::Forbidden));
        assert_eq!(
            remove(&mut head, "stranger", "carol"),
            Err(Code::NotParticipant)
        );
        assert_eq!(
            remove(&mut head, "stranger", "stranger"),
            Ok(false),
            "he is out already"
        );
        assert_eq!(remove(&mut head, "alice", "dave"), Ok(false));
        assert_eq!(remove(&mut head, "bob", "bob"), Ok(true));
        assert_eq!(
            add(&mut head, "alice", &["alice", "carol"]),
            Ok(false),
            "all are in"
        );
        assert_eq!(head.last_seq, Seq(2));
    }

    #[test]
    fn the_longest_standing_participant_follows_an_admin_who_leaves() {
        let mut head = begun(&["alice", "zoe", "bob"]);
        add(&mut head, "alice", &["aaron"]).expect("added");
        remove(&mut head, "zoe", "zoe").expect("left");
        add(&mut head, "alice", &["zoe"]).expect("added");
        let succession = [("alice", "bob"), ("bob", "aaron"), ("aaron", "zoe")];
        for (gone, next) in succession {
            let remove = Remove {
                conversation: conversation("c"),
                by: user(gone),
                user: user(gone),
            };
            let event = head
                .decide_remove(&remove, 1)
                .expect("may leave")
                .expect("was in");
            assert!(
                matches!(&event.kind, EventKind::Left { admin: Some(admin), .. } if *admin == user(next))
            );
            head.advance(&event);
            assert_eq!(head.role(&user(next)), Role::Admin);
        }
        remove(&mut head, "zoe", "zoe").expect("left");
        assert_eq!((head.participants.len(), &head.admin), (0, &user("zoe")));
        assert_eq!(
            add(&mut head, "zoe", &["zoe"]),
            Err(Code::NotParticipant),
            "no one lets her in again"
        );
    }

    #[test]
    fn those_of_one_event_stand_in_the_order_in_which_they_were_named() {
        let mut head = begun(&["zoe", "mia", "adam"]);
        remove(&mut head, "zoe", "zoe").expect("left");
        assert_eq!(head.admin, user("mia"));
    }

    #[test]
    fn a_conversation_has_at_most_ten_thousand_participants() {
        let mut head = begun(&["admin"]);
        let names: Vec<String> = (1..PARTICIPANTS_MAX)
            .map(|number| format!("u-{number}"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (most, last) = names.split_at(names.len() - 1);
        assert_eq!(add(&mut head, "admin", most), Ok(true));
        assert_eq!(
            add(&mut head, "admin", &[last[0], "one-too-many"]),
            Err(Code::Invalid)
        );
        // Duplicates and those who are in do not count.
        assert_eq!(
            add(&mut head, "admin", &[last[0], last[0], "u-1"]),
            Ok(true)
        );
        assert_eq!(head.participants.len(), PARTICIPANTS_MAX);
        assert_eq!(
            add(&mut head, "admin", &["one-too-many"]),
            Err(Code::Invalid)
        );
        assert_eq!(
            head.view(&conversation("c"))
                .participants
                .map(|shown| shown.len()),
            Some(PARTICIPANTS_SHOWN_MAX)
        );
    }

    #[test]
    fn only_the_newest_messages_are_kept_with_their_authors() {
        let mut head = begun(&["alice"]);
        for now_ms in 0..RECENT_MAX as u64 + 5 {
            send(&mut head, "alice", now_ms).expect("in");
        }
        assert_eq!(head.recent.len(), RECENT_MAX);
        assert_eq!(head.recent.back().map(|(seq, _)| *seq), Some(head.last_seq));
    }

    #[test]
    fn creating_a_name_again_is_the_same_request_or_a_refusal() {
        let head = begun(&["alice", "bob"]);
        let again = |by: &str, key: Option<&str>, fingerprint| {
            let (name, key) = (conversation("c"), key.and_then(IdempotencyKey::from_client));
            let participants = vec![user(by)];
            let create = Create {
                name,
                by: user(by),
                title: None,
                participants,
                key,
                fingerprint,
            };
            decide_create_again(&head, &create).map_err(|problem| problem.code)
        };
        assert_eq!(again("alice", Some("key"), [1; 16]), Ok(()));
        assert_eq!(
            again("alice", Some("key"), [2; 16]),
            Err(Code::IdempotencyConflict)
        );
        assert_eq!(again("alice", Some("other"), [1; 16]), Err(Code::NameTaken));
        assert_eq!(again("alice", None, [1; 16]), Err(Code::NameTaken));
        assert_eq!(again("bob", Some("key"), [1; 16]), Err(Code::NameTaken));
    }
}
