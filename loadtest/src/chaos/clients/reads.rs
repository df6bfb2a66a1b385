//! What a person reads: pages of changes, with what they say noted in the history.

use std::time::Duration;

use serde_json::Value;

use crate::chaos::clients::World;
use crate::chaos::clients::http::{Answer, Call};
use crate::chaos::clients::person::Person;
use crate::chaos::history::item::{conversation_name, item};
use crate::chaos::history::{Item, Record};

/// Between two reads that are to succeed.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(200);

impl Person {
    /// A page of changes after a seq, so many at most. What it says goes to the history; `None`
    /// when there was no answer that says anything.
    pub(crate) async fn page(
        &mut self,
        world: &World,
        conversation: u32,
        (after, limit): (u64, u64),
        strict: bool,
    ) -> Option<(u64, bool)> {
        let path = format!(
            "/v1/conversations/{}/events?after={after}&limit={limit}",
            conversation_name(conversation)
        );
        let (answer, read) = self.read(world, conversation, &path, strict).await?;
        let items = self.items(world, &answer, "items")?;
        let end = answer.body.get("next").is_none_or(Value::is_null);
        let last = items.last().map_or(after, |item| item.seq);
        world.log.note(&Record::Page {
            read,
            after,
            items,
            end,
        });
        Some((last, end))
    }

    /// A read of a conversation, with its refusal noted.
    pub(crate) async fn read(
        &mut self,
        world: &World,
        conversation: u32,
        path: &str,
        strict: bool,
    ) -> Option<(Answer, crate::chaos::history::Read)> {
        let begun = world.log.now();
        let answer = self
            .call(Call {
                strict,
                ..Call::get(path)
            })
            .await
            .ok()?;
        let read = world.log.read(begun, self.user, conversation, answer.stale);

        match answer.status {
            200 => Some((answer, read)),
            403 => {
                world.log.note(&Record::Refused { read });
                None
            }
            // A node that was asked directly, and does not own it, says so.
            421 | 429 | 503 => None,
            _ => {
                let said = format!(
                    "{path} of u{}: {} {}",
                    self.user, answer.status, answer.body
                );
                world
                    .log
                    .wrong("answers are as promised", Some(conversation), said);
                None
            }
        }
    }

    /// Items of a page, in the order given.
    pub(crate) fn items(&self, world: &World, answer: &Answer, field: &str) -> Option<Vec<Item>> {
        let list = answer.body.get(field).and_then(Value::as_array)?;
        match list.iter().map(item).collect::<Result<Vec<_>, _>>() {
            Ok(items) => Some(items),
            Err(error) => {
                world.log.wrong(
                    "answers are as promised",
                    None,
                    format!("u{}: {error}", self.user),
                );
                None
            }
        }
    }

    /// Everything of a conversation, strictly, until it is there or the time is up.
    pub(crate) async fn page_surely(
        &mut self,
        world: &World,
        conversation: u32,
        after: u64,
        end: tokio::time::Instant,
    ) -> Option<(u64, bool)> {
        loop {
            if let Some(page) = self.page(world, conversation, (after, 200), true).await {
                return Some(page);
            }
            if tokio::time::Instant::now() > end {
                return None;
            }
            tokio::time::sleep(READ_AGAIN_AFTER).await;
        }
    }
}
