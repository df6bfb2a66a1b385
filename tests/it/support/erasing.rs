//! Words that are written, changed and deleted, for the tests that look for them everywhere.
#![allow(
    dead_code,
    reason = "compiled for every test target; not each of them erases"
)]

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::{Fields, unique};

/// The log keeps a segment for a minute after the first of its entries was trimmed, and is looked
/// through every 20 s; two such rounds, for what was not trimmed yet at the first, and a disk that
/// is slow.
pub(crate) const ERASED_WITHIN: Duration = Duration::from_secs(240);

/// The flags of a server that erases soon: it trims and checkpoints every second.
pub(crate) const ERASES_SOON: [&str; 6] = [
    "--trim-floor",
    "1s",
    "--checkpoint-every",
    "1s",
    "--shards",
    "2",
];

/// Long ones, as no program has them in its own text.
pub(crate) const WORDS: [&str; 3] = ["plughplughxyzzy", "frobozzmagicword", "quuxzorkmidword"];

/// The key of the first message.
const KEY: &str = "key";

/// Two messages with the words: a long one in pages of its own, and a short one that was changed.
pub(crate) struct Erasing {
    conversation: String,
    messages: String,
    body: Value,
    sent: Value,
    short: Value,
}

impl Erasing {
    /// Writes them in a conversation of the user's own.
    pub(crate) async fn written_by(user: &Client) -> Self {
        let name = user.create(&[&unique("bob")]).await.text("name").to_owned();
        let conversation = format!("/v1/conversations/{name}");
        let messages = format!("{conversation}/messages");
        let [first, second, third] = WORDS;

        let body = json!({"text": format!("{first} ").repeat(900), "data": {"of": third}});
        let sent = user.post_with_key(&messages, &body, KEY).await.expect(201);
        let short = user.say(&name, first).await;

        let edit = json!({"text": second, "data": {"of": third}});
        let headers = [("content-type", "application/json")];
        let path = path(&short);
        user.call(Method::PATCH, &path, &headers, edit.to_string().into())
            .await
            .expect(200);
        Self {
            conversation,
            messages,
            body,
            sent,
            short,
        }
    }

    /// Writes them, and has the conversation say the words too, in its title and its data.
    pub(crate) async fn titled_by(user: &Client) -> Self {
        let erasing = Self::written_by(user).await;
        let [first, second, third] = WORDS;
        let body = json!({"title": format!("{first} {second}"), "data": {"of": third}});
        let headers = [("content-type", "application/json")];
        let changed = user.call(
            Method::PATCH,
            &erasing.conversation,
            &headers,
            body.to_string().into(),
        );
        changed.await.expect(200);
        erasing
    }

    /// Deletes the whole conversation.
    pub(crate) async fn delete_conversation(&self, user: &Client) {
        user.delete(&self.conversation).await.expect(204);
    }

    /// Sends the first once more: there is nothing to send it to.
    pub(crate) async fn repeat_in_vain(&self, user: &Client) {
        user.post_with_key(&self.messages, &self.body, KEY)
            .await
            .refused(410, "conversation_closed");
    }

    /// Sends the first once more: its key is known, and it is gone.
    pub(crate) async fn repeat_too_late(&self, user: &Client) {
        user.post_with_key(&self.messages, &self.body, KEY)
            .await
            .refused(404, "message_unknown");
    }

    /// Deletes both.
    pub(crate) async fn delete(&self, user: &Client) {
        for message in [&self.sent, &self.short] {
            user.delete(&path(message)).await.expect(204);
        }
    }

    /// Sends the first once more: its key is known, and its answer has nothing of it.
    pub(crate) async fn repeat(&self, user: &Client) {
        let again = user
            .post_with_key(&self.messages, &self.body, KEY)
            .await
            .expect(200);
        assert_eq!(
            (&again["deleted"], &again["id"]),
            (&json!(true), &self.sent["id"]),
            "its key is known"
        );
    }
}

fn path(message: &Value) -> String {
    format!("/v1/messages/{}", message.text("id"))
}
