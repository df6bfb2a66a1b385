//! Participants of a conversation, their watermarks, and whether they are there.

use crate::node::http::answer::{Answer, Refusal, unexpected};
use crate::node::http::request::{self, Call};
use crate::node::http::rest::Rest;
use crate::protocol::{AddBody, PresencePage};
use crate::shard::command::{Add, Command, Done, Found, Query, Remove};

impl Rest {
    pub(super) async fn list_participants(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let query = call.query()?;
        let (limit, after) = (query.limit()?, query.user("after")?);
        let name = call.conversation()?;
        let slot = name.slot();
        let asked = Query::Participants {
            name,
            reader: call.user.clone(),
            after,
            limit,
        };

        match self.query(call, slot, asked).await? {
            (Found::Participants(page), freshness) => {
                Answer::ok(&page)?.with_freshness(freshness, call.strict())
            }
            _ => Err(unexpected("participants")),
        }
    }

    pub(super) async fn add_participants(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let body: AddBody = call.json()?;
        call.query()?;
        let users = request::participants(&body.participants)?;
        let conversation = call.conversation()?;
        let slot = conversation.slot();
        let command = Command::Add(Add {
            conversation,
            by: call.user.clone(),
            users,
        });
        match self.execute(call, slot, command).await? {
            Done::Added(as_it_is_now) => Answer::ok(&as_it_is_now),
            _ => Err(unexpected("add")),
        }
    }

    pub(super) async fn remove_participant(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        call.query()?;
        let (conversation, user) = (call.conversation()?, call.named_user()?);
        let slot = conversation.slot();
        let command = Command::Remove(Remove {
            conversation,
            by: call.user.clone(),
            user,
        });
        match self.execute(call, slot, command).await? {
            Done::Removed => Ok(Answer::no_content()),
            _ => Err(unexpected("remove")),
        }
    }

    pub(super) async fn show_watermarks(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let query = call.query()?;
        let (limit, after) = (query.limit()?, query.user("after")?);
        let name = call.conversation()?;
        let slot = name.slot();
        let asked = Query::Watermarks {
            name,
            reader: call.user.clone(),
            after,
            limit,
        };

        match self.query(call, slot, asked).await? {
            (Found::Watermarks(page), freshness) => {
                Answer::ok(&page)?.with_freshness(freshness, call.strict())
            }
            _ => Err(unexpected("watermarks")),
        }
    }

    pub(super) async fn show_presence(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        call.query()?;
        let name = call.conversation()?;
        let slot = name.slot();
        let asked = Query::Acquainted {
            name,
            reader: call.user.clone(),
        };
        match self.query(call, slot, asked).await? {
            (Found::Acquainted(users), freshness) => {
                let items = self.shards.presence(users, call.deadline).await?;
                Answer::ok(&PresencePage { items })?.with_freshness(freshness, call.strict())
            }
            _ => Err(unexpected("presence")),
        }
    }
}
