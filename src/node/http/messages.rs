//! Messages: sending, history, receipts, reactions.

use serde::Serialize;

use crate::ids::UserId;
use crate::node::given;
use crate::node::http::answer::{Answer, Refusal, unexpected};
use crate::node::http::request::{self, Call, invalid};
use crate::node::http::rest::Rest;
use crate::node::session::render::Committed;
use crate::problem::{Code, Problem};
use crate::protocol::{
    EditBody, EventsPage, GapReason, HistoryPage, REACTION_MAX, ReactionBody, SendBody, ServerFrame,
};
use crate::shard::command::{
    Around, Command, Delete, Delivered, Done, Edit, Found, HistoryQuery, MarkRead, Patch, Query,
    React, Send as SendCommand,
};

/// An item of a page of events.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Given<'a> {
    /// What is gone before the others.
    Gone(ServerFrame<'a>),
    /// One of them.
    Event(Committed<'a>),
}

impl Rest {
    pub(super) async fn send_message(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let body: SendBody = call.json()?;
        call.query()?;

        let conversation = call.conversation()?;
        let key = call.idempotency_key()?;
        let reply_to = body
            .reply_to
            .as_deref()
            .map(request::message_reference)
            .transpose()?;
        let mentions = given::mentions(body.mentions)?.unwrap_or_default();

        // Read only where there is some: most have none.
        let data = if body.data.is_some() {
            call.data()?.flatten()
        } else {
            None
        };

        let text = given::text(body.text)?;
        let slot = conversation.slot();
        let (source, unless) = (call.user.clone(), Vec::new());
        let send = SendCommand {
            conversation,
            source,
            text,
            reply_to,
            key,
            unless,
            data,
            mentions,
        };

        match self.execute(call, slot, Command::Send(send)).await? {
            Done::Sent { message, replayed } => Answer::made(&message, replayed),
            _ => Err(unexpected("send")),
        }
    }

    pub(super) async fn show_history(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let asked = history_query(call)?;
        let name = asked.conversation.clone();
        match self.query(call, name.slot(), Query::History(asked)).await? {
            (Found::History(page), freshness) => {
                let answer = Answer::ok(&page)?.with_freshness(freshness, call.strict())?;
                if !call.sent.head {
                    self.mark_delivered(call, &page);
                }
                Ok(answer)
            }
            _ => Err(unexpected("history")),
        }
    }

    /// The device has been given these, or will be in a moment. Nobody waits for the mark, and it
    /// may be shed: the next one covers it.
    fn mark_delivered(&self, call: &Call<'_>, page: &HistoryPage) {
        let Some(newest) = page.items.iter().max_by_key(|message| message.core.seq) else {
            return;
        };
        let conversation = newest.core.conversation.clone();
        let shard = self.shard_of(conversation.slot());
        let mark = Delivered {
            conversation,
            user: call.user.clone(),
            up_to: newest.core.seq,
        };
        self.shards
            .tell_here(shard, Command::Delivered(vec![mark]), call.deadline);
    }

    pub(super) async fn show_events(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let query = call.query()?;
        let limit = query.limit()?;
        let after = query.seq("after")?.unwrap_or_default();
        let name = call.conversation()?;
        let slot = name.slot();
        let asked = Query::Events {
            name: name.clone(),
            reader: call.user.clone(),
            after,
            limit,
        };

        match self.query(call, slot, asked).await? {
            (
                Found::Events {
                    items,
                    next,
                    pruned,
                },
                freshness,
            ) => {
                let gone = (after < pruned).then(|| {
                    Given::Gone(ServerFrame::Gap {
                        conversation: &name,
                        from: after.next(),
                        to: pruned,
                        reason: GapReason::Pruned,
                    })
                });
                let events = items.iter().map(|event| Given::Event(Committed(event)));
                let given: Vec<_> = gone.into_iter().chain(events).collect();
                Answer::ok(&EventsPage { items: given, next })?
                    .with_freshness(freshness, call.strict())
            }
            _ => Err(unexpected("events")),
        }
    }

    pub(super) async fn show_message(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        call.query()?;
        let id = call.message_id()?;
        let asked = Query::Message {
            id,
            reader: call.user.clone(),
        };
        match self.query(call, id.slot(), asked).await? {
            (Found::Message(message), freshness) => {
                Answer::ok(&message)?.with_freshness(freshness, call.strict())
            }
            _ => Err(unexpected("message")),
        }
    }

    pub(super) async fn edit_message(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let body: EditBody = call.json()?;
        call.query()?;

        let key = call.idempotency_key()?;
        let mentions = given::mentions(body.mentions)?;
        let data = call.data()?;
        if body.text.is_none() && data.is_none() && mentions.is_none() {
            return Err(invalid("give at least one of text, data and mentions").into());
        }

        let text = body.text.map(given::text).transpose()?;
        let message_id = call.message_id()?;
        let data = data.map_or(Patch::Keep, Patch::Set);
        let edit = Edit {
            message_id,
            by: call.user.clone(),
            text,
            data,
            mentions,
            key,
            unless: Vec::new(),
        };

        match self
            .execute(call, message_id.slot(), Command::Edit(edit))
            .await?
        {
            Done::Edited(message) => Answer::ok(&message),
            _ => Err(unexpected("edit")),
        }
    }

    pub(super) async fn delete_message(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        call.query()?;
        let message_id = call.message_id()?;
        let command = Command::Delete(Delete {
            message_id,
            by: call.user.clone(),
        });
        match self.execute(call, message_id.slot(), command).await? {
            Done::Deleted => Ok(Answer::no_content()),
            _ => Err(unexpected("delete")),
        }
    }

    pub(super) async fn show_receipts(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let query = call.query()?;
        let (limit, after): (u32, Option<UserId>) = (query.limit()?, query.user("after")?);
        let id = call.message_id()?;
        let asked = Query::Receipts {
            id,
            reader: call.user.clone(),
            after,
            limit,
        };
        match self.query(call, id.slot(), asked).await? {
            (Found::Receipts(page), freshness) => {
                Answer::ok(&page)?.with_freshness(freshness, call.strict())
            }
            _ => Err(unexpected("receipts")),
        }
    }

    pub(super) async fn list_reactions(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let query = call.query()?;
        let (limit, after): (u32, Option<UserId>) = (query.limit()?, query.user("after")?);
        let id = call.message_id()?;
        let asked = Query::Reactions {
            id,
            reader: call.user.clone(),
            after,
            limit,
        };
        match self.query(call, id.slot(), asked).await? {
            (Found::Reactions(page), freshness) => {
                Answer::ok(&page)?.with_freshness(freshness, call.strict())
            }
            _ => Err(unexpected("reactions")),
        }
    }

    pub(super) async fn react(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let body: ReactionBody = call.json()?;
        call.query()?;
        if !(1..=REACTION_MAX).contains(&body.reaction) {
            let detail = format!("reaction is a number from 1 to {REACTION_MAX}");
            return Err(Problem::new(Code::Invalid, detail).into());
        }
        self.set_reaction(call, Some(body.reaction)).await
    }

    pub(super) async fn take_reaction_back(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        call.query()?;
        self.set_reaction(call, None).await
    }

    async fn set_reaction(
        &self,
        call: &Call<'_>,
        reaction: Option<u32>,
    ) -> Result<Answer, Refusal> {
        let message_id = call.message_id()?;
        let command = Command::React(React {
            message_id,
            user: call.user.clone(),
            reaction,
        });
        match self.execute(call, message_id.slot(), command).await? {
            Done::Marked => Ok(Answer::no_content()),
            _ => Err(unexpected("react")),
        }
    }

    pub(super) async fn mark_read(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        call.query()?;
        let message_id = call.message_id()?;
        let command = Command::MarkRead(MarkRead {
            message_id,
            user: call.user.clone(),
            origin: None,
        });
        match self.execute(call, message_id.slot(), command).await? {
            Done::Marked => Ok(Answer::no_content()),
            _ => Err(unexpected("read")),
        }
    }
}

fn history_query(call: &Call<'_>) -> Result<HistoryQuery, Problem> {
    let query = call.query()?;
    let ascending = query.word("order")? == Some("asc");
    let around = match (
        query.seq("before")?,
        query.seq("after")?,
        query.seq("around")?,
    ) {
        (None, None, None) if ascending => Around::Oldest,
        (None, None, None) => Around::Newest,
        (Some(seq), None, None) => Around::Before(seq),
        (None, Some(seq), None) => Around::After(seq),
        (None, None, Some(seq)) => Around::Around(seq),
        _ => return Err(invalid("only one of before, after and around can be given")),
    };

    Ok(HistoryQuery {
        limit: query.limit()?,
        source: query.user("source")?,
        reply_to: query
            .get("reply_to")
            .map(request::message_reference)
            .transpose()?,
        conversation: call.conversation()?,
        reader: call.user.clone(),
        around,
        ascending,
    })
}
