//! Conversations: creating and showing. Creating goes by the caller: this node must own their
//! shard.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::MutexGuard;

use crate::ids::{ConversationName, IdempotencyKey, UserId};
use crate::log::record::Fingerprint;
use crate::node::http::answer::{Answer, Refusal, unexpected};
use crate::node::http::request::{self, Call, invalid};
use crate::node::http::rest::Rest;
use crate::problem::{Code, Problem};
use crate::protocol::{
    ChangedSettings, Conversation, CreateBody, Retention, Settings, SettingsChange, direct,
};
use crate::shard::command::{Command, Create, CreateKeyUse, Done, Found, Freshness, Query};

impl Rest {
    pub(super) async fn create_conversation(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let create = create_command(call, self.config.retention)?;
        let key = create.key.clone();
        let home = self.shard_of(call.user.slot());
        if !self.shards.owns(home) {
            return Err(Refusal::Elsewhere(home));
        }

        // Two at once under one key may name different conversations: the second waits, and then
        // finds the first.
        let _turn = self.turn_to_create(call, key.as_ref()).await?;

        if let Some(key) = key.filter(|key| !key.stamped)
            && let Some(earlier) = self.created_before(call, key).await?
        {
            return self.repeat_create(call, earlier, &create.fingerprint).await;
        }

        self.make(call, create).await
    }

    /// Has the owner of its name make a conversation, or tell that it is there.
    pub(super) async fn make(&self, call: &Call<'_>, create: Create) -> Result<Answer, Refusal> {
        let shard = self.shard_of(create.name.slot());
        match self
            .shards
            .execute_at_owner(shard, Command::Create(create), call.deadline)
            .await?
        {
            Done::Created {
                conversation,
                replayed,
            } => created(&conversation, replayed),
            _ => Err(unexpected("create")),
        }
    }

    async fn turn_to_create(
        &self,
        call: &Call<'_>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<MutexGuard<'_, ()>>, Refusal> {
        let Some(key) = key else { return Ok(None) };
        let [high, low, ..] = digest_of(&call.user, key);
        let place = usize::from(u16::from_be_bytes([high, low])) % self.creating.len().max(1);
        let Some(lock) = self.creating.get(place) else {
            return Ok(None);
        };
        let turn = tokio::time::timeout_at(call.deadline.into(), lock.lock()).await;
        let turn = turn.map_err(|_elapsed| {
            Problem::unavailable("another create with this key is under way")
        })?;
        Ok(Some(turn))
    }

    /// What the caller created under this key in the last 24 h.
    async fn created_before(
        &self,
        call: &Call<'_>,
        key: IdempotencyKey,
    ) -> Result<Option<CreateKeyUse>, Refusal> {
        let asked = Query::CreateKey {
            user: call.user.clone(),
            key,
        };
        match self.query(call, call.user.slot(), asked).await? {
            // A stale "nothing" could let one key make two conversations.
            (Found::CreateKey(None), Freshness::Stale { .. }) => {
                Err(Problem::unavailable("whether the key was used cannot be told now").into())
            }
            (Found::CreateKey(earlier), _) => Ok(earlier),
            _ => Err(unexpected("create key")),
        }
    }

    async fn repeat_create(
        &self,
        call: &Call<'_>,
        earlier: CreateKeyUse,
        fingerprint: &Fingerprint,
    ) -> Result<Answer, Refusal> {
        if earlier.fingerprint != *fingerprint {
            let detail = "this key created another conversation; use a new key";
            return Err(Problem::new(Code::IdempotencyConflict, detail).into());
        }

        let shard = self.shard_of(earlier.name.slot());
        let asked = Query::Conversation {
            name: earlier.name,
            reader: call.user.clone(),
        };

        match self
            .shards
            .query_at_owner(shard, asked, call.deadline)
            .await?
        {
            (Found::Conversation(conversation), freshness) => {
                // As the first time: nobody has a view of what they only just created.
                let conversation = Conversation {
                    own: None,
                    ..conversation
                };
                created(&conversation, true)?.with_freshness(freshness, call.strict())
            }
            _ => Err(unexpected("conversation")),
        }
    }

    pub(super) async fn show_conversation(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        call.query()?;
        let name = call.conversation()?;
        let slot = name.slot();
        let asked = Query::Conversation {
            name,
            reader: call.user.clone(),
        };
        match self.query(call, slot, asked).await? {
            (Found::Conversation(conversation), freshness) => {
                Answer::ok(&conversation)?.with_freshness(freshness, call.strict())
            }
            _ => Err(unexpected("conversation")),
        }
    }
}

fn created(conversation: &Conversation, replayed: bool) -> Result<Answer, Refusal> {
    Ok(
        Answer::made(conversation, replayed)?
            .at(format!("/v1/conversations/{}", conversation.name)),
    )
}

/// The command of a create, all of it checked that can be checked here.
fn create_command(call: &Call<'_>, retention: Retention) -> Result<Create, Problem> {
    let body: CreateBody = call.json()?;
    call.query()?;

    let key = call
        .idempotency_key()?
        .unwrap_or_else(IdempotencyKey::stamp);
    let title = request::title(body.title)?;
    let data = if body.data.is_some() {
        call.data()?.flatten()
    } else {
        None
    };

    let settings = Settings::default().with(&request::settings(body.settings, retention)?);
    let chosen = body
        .name
        .as_deref()
        .map(request::conversation_name)
        .transpose()?;
    if chosen.as_ref().is_some_and(direct::is_reserved) {
        let detail = "names that begin with d: are those of conversations of two, which POST \
                      /v1/direct opens; choose another name or leave it out";
        return Err(Problem::new(Code::Invalid, detail));
    }
    let others = request::participants(&body.participants)?;

    let more = (data.as_deref(), &settings);
    let fingerprint = fingerprint(
        (chosen.as_ref(), title.as_deref()),
        (&call.user, &others),
        more,
    );
    let name = match chosen {
        Some(name) => name,
        None => derived_name(&call.user, &key)?,
    };
    let others = others.into_iter().filter(|other| *other != call.user);

    Ok(Create {
        name,
        by: call.user.clone(),
        title: title.map(Arc::from),
        participants: std::iter::once(call.user.clone()).chain(others).collect(),
        key: Some(key),
        fingerprint,
        data,
        settings,
    })
}

/// The name of a conversation for which none was chosen: the same for each retry, so that a retry
/// cannot make a second.
fn derived_name(user: &UserId, key: &IdempotencyKey) -> Result<ConversationName, Problem> {
    let hex: String = digest_of(user, key)
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = format!("c-{hex}");
    ConversationName::parse(&name).map_err(|_wrong| invalid("no name can be made; choose one"))
}

fn digest_of(user: &UserId, key: &IdempotencyKey) -> [u8; 32] {
    // A user's name has no zero byte, so no two pairs give the same bytes.
    Sha256::new()
        .chain_update(user.as_str())
        .chain_update([0])
        .chain_update(key.key.as_bytes())
        .finalize()
        .into()
}

/// Over the known fields: a name if one was chosen, the title, and who takes part, in any order;
/// data and settings where they are not what they are without being given.
fn fingerprint(
    (chosen, title): (Option<&ConversationName>, Option<&str>),
    (user, others): (&UserId, &[UserId]),
    (data, settings): (Option<&str>, &Settings),
) -> Fingerprint {
    let mut participants: Vec<_> = others.iter().chain([user]).map(UserId::as_str).collect();
    participants.sort_unstable();
    participants.dedup();

    let fields = [chosen.map(ConversationName::as_str), title];
    let mut hash = Sha256::new();
    for field in fields.into_iter().chain(participants.into_iter().map(Some)) {
        // With presence and length before it, no field runs into the next.
        hash.update([u8::from(field.is_some())]);
        let text = field.unwrap_or_default();
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text);
    }

    if data.is_some() || *settings != Settings::default() {
        // No name of a user is empty, so nothing without them gives the same bytes.
        hash.update([0]);
        hash.update(data.unwrap_or_default());
        let changed = ChangedSettings::from(SettingsChange::of(settings));
        // Our own type has no failing case.
        hash.update(serde_json::to_vec(&changed).unwrap_or_default());
    }

    let digest: [u8; 32] = hash.finalize().into();
    let mut short = Fingerprint::default();
    short
        .iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = from);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).expect("a name")
    }

    #[test]
    fn a_derived_name_depends_on_user_and_key_alone() {
        let key = |key: &str, stamped| IdempotencyKey {
            key: Arc::from(key),
            stamped,
        };
        let name = |by: &str, with: &IdempotencyKey| {
            derived_name(&user(by), with).expect("a name").to_string()
        };
        assert_eq!(name("bob", &key("k", false)), name("bob", &key("k", false)));
        assert_ne!(name("bob", &key("k", false)), name("bob", &key("l", false)));
        assert_ne!(
            name("bob", &key("k", false)),
            name("alice", &key("k", false))
        );
        assert_eq!(name("bob", &key("k", false)).len(), 34);
    }

    #[test]
    fn a_fingerprint_sees_every_field_and_no_order() {
        let name = ConversationName::parse("a").expect("a name");
        let of = |chosen, title, others: &[&str]| {
            let others: Vec<_> = others.iter().map(|other| user(other)).collect();
            let more = (None, &Settings::default());
            fingerprint((chosen, title), (&user("bob"), &others), more)
        };
        let plain = of(None, None, &["x", "y"]);
        assert_eq!(plain, of(None, None, &["y", "x", "bob"]));

        for other in [
            of(None, None, &["x"]),
            of(None, Some("a"), &["x", "y"]),
            of(Some(&name), None, &["x", "y"]),
        ] {
            assert_ne!(plain, other);
        }

        assert_ne!(of(None, Some("a"), &["x"]), of(Some(&name), None, &["x"]));
        let closed = Settings {
            typing: false,
            ..Settings::default()
        };
        let with = |data, settings: &Settings| {
            let (chosen, others) = ((None, None), [user("x"), user("y")]);
            fingerprint(chosen, (&user("bob"), &others), (data, settings))
        };
        assert_eq!(plain, with(None, &Settings::default()));

        let others = [with(Some("{}"), &Settings::default()), with(None, &closed)];
        assert!(!others.contains(&plain) && others[0] != others[1]);
    }
}
