//! What those who lead a conversation ask for: its settings and its end, roles, mutes and bans.

use std::sync::Arc;

use crate::node::http::answer::{Answer, Refusal, unexpected};
use crate::node::http::request::{Call, invalid, settings, title};
use crate::node::http::rest::Rest;
use crate::problem::{Code, Problem};
use crate::protocol::{BanBody, ChangeBody, ParticipantBody, Patch, REASON_BYTES_MAX, Retention};
use crate::shard::command::{
    Ban, Close, Command, Done, Found, Query, SetParticipant, Unban, Update,
};

impl Rest {
    pub(super) async fn change_conversation(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let update = update_command(call, self.config.retention)?;
        let slot = update.conversation.slot();
        match self.execute(call, slot, Command::Update(update)).await? {
            Done::Updated(as_it_is_now) => Answer::ok(&as_it_is_now),
            _ => Err(unexpected("update")),
        }
    }

    pub(super) async fn delete_conversation(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        call.query()?;
        let conversation = call.conversation()?;
        let slot = conversation.slot();
        let command = Command::Close(Close {
            conversation,
            by: call.user.clone(),
        });
        match self.execute(call, slot, command).await? {
            Done::Closed => Ok(Answer::no_content()),
            _ => Err(unexpected("deletion")),
        }
    }

    pub(super) async fn set_participant(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let body: ParticipantBody = call.json()?;
        call.query()?;
        if body.role.is_none() && body.muted_until.is_none() {
            return Err(invalid("at least one of role and muted_until is given").into());
        }

        let (conversation, user) = (call.conversation()?, call.named_user()?);
        let slot = conversation.slot();
        let command = Command::SetParticipant(SetParticipant {
            conversation,
            by: call.user.clone(),
            user,
            role: body.role,
            muted_until: body.muted_until.map_or(Patch::Keep, Patch::Set),
        });

        match self.execute(call, slot, command).await? {
            Done::Set(as_they_are_now) => Answer::ok(&as_they_are_now),
            _ => Err(unexpected("participant")),
        }
    }

    pub(super) async fn list_bans(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let query = call.query()?;
        let (limit, after) = (query.limit()?, query.user("after")?);
        let name = call.conversation()?;
        let slot = name.slot();
        let asked = Query::Bans {
            name,
            reader: call.user.clone(),
            after,
            limit,
        };

        match self.query(call, slot, asked).await? {
            (Found::Bans(page), freshness) => {
                Answer::ok(&page)?.with_freshness(freshness, call.strict())
            }
            _ => Err(unexpected("bans")),
        }
    }

    pub(super) async fn ban(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let body: BanBody = call.json_if_any()?;
        call.query()?;
        if body
            .reason
            .as_ref()
            .is_some_and(|reason| reason.len() > REASON_BYTES_MAX)
        {
            let detail = format!("reason is null or has at most {REASON_BYTES_MAX} bytes");
            return Err(Problem::new(Code::Invalid, detail).into());
        }

        let (conversation, user) = (call.conversation()?, call.named_user()?);
        let slot = conversation.slot();
        let command = Command::Ban(Ban {
            conversation,
            by: call.user.clone(),
            user,
            reason: body.reason.map(Arc::from),
        });

        match self.execute(call, slot, command).await? {
            Done::Banned => Ok(Answer::no_content()),
            _ => Err(unexpected("ban")),
        }
    }

    pub(super) async fn end_ban(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        call.query()?;
        let (conversation, user) = (call.conversation()?, call.named_user()?);
        let slot = conversation.slot();
        let command = Command::Unban(Unban {
            conversation,
            by: call.user.clone(),
            user,
        });
        match self.execute(call, slot, command).await? {
            Done::Banned => Ok(Answer::no_content()),
            _ => Err(unexpected("end of a ban")),
        }
    }
}

fn update_command(call: &Call<'_>, retention: Retention) -> Result<Update, Problem> {
    let body: ChangeBody = call.json()?;
    call.query()?;

    let data = call.data()?;
    if body.title.is_none() && data.is_none() && body.settings.is_none() {
        return Err(invalid("at least one of title, data and settings is given"));
    }

    let settings = settings(body.settings, retention)?;
    let named = body.title.map(title).transpose()?;
    Ok(Update {
        conversation: call.conversation()?,
        by: call.user.clone(),
        title: named.map_or(Patch::Keep, |title| Patch::Set(title.map(Arc::from))),
        data: data.map_or(Patch::Keep, Patch::Set),
        settings,
    })
}
