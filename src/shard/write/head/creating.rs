//! Creating a conversation, or one whose name is in use.

use crate::ids::{Seq, UserId};
use crate::log::record::{Event, EventKind};
use crate::problem::{Code, Problem};
use crate::shard::command::Create;
use crate::shard::write::head::deciding::key_use;
use crate::shard::write::head::fold::Head;
use crate::shard::write::head::refusal::{conversation_closed, idempotency_conflict};

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
            data: create.data.clone(),
            settings: create.settings,
        },
    }
}

impl Head {
    /// The `joined` event by which those of the two take part again who left; `None` when both do.
    ///
    /// # Errors
    /// `name_taken` for what somebody else once made under the name of the two.
    pub(in crate::shard) fn decide_open(
        &self,
        create: &Create,
        now_ms: u64,
    ) -> Result<Option<Event>, Problem> {
        let both = create.participants.as_slice();
        let is_theirs = self.closed.is_none()
            && both.contains(&self.created_by)
            && self.participants.keys().all(|user| both.contains(user));
        if !is_theirs {
            return Err(name_taken());
        }
        let missing = both.iter().filter(|user| !self.has(user));
        let users: Vec<UserId> = missing.cloned().collect();
        if users.is_empty() {
            return Ok(None);
        }
        let kind = EventKind::joined(create.by.clone(), users);
        Ok(Some(self.event(&create.name, now_ms, None, kind)))
    }
}

/// What creating a name that is in use comes to: the same request again, or a refusal.
///
/// # Errors
/// `name_taken`, or `idempotency_conflict` for the same key with another request;
/// `conversation_closed` for the same key when it was deleted since.
pub(in crate::shard) fn decide_create_again(head: &Head, create: &Create) -> Result<(), Problem> {
    let same_key = match (&head.create_key, &create.key) {
        (Some(used), Some(key)) => head.created_by == create.by && used.key == key.key,
        _ => false,
    };
    if same_key && head.closed.is_some() {
        return Err(conversation_closed());
    }
    match (same_key, &head.create_key) {
        (true, Some(used)) if used.fingerprint == create.fingerprint => Ok(()),
        (true, _) => Err(idempotency_conflict()),
        (false, _) => Err(name_taken()),
    }
}

fn name_taken() -> Problem {
    Problem::new(
        Code::NameTaken,
        "a conversation of this name exists; choose another name or leave it out",
    )
}
