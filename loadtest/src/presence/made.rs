//! The users and conversations of a run.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::client::http::Ask;
use crate::load::rig::run_name;
use crate::presence::storm::{Options, WIDTH};
use crate::target::Target;

/// Participants of a conversation whose presence is told.
const PARTICIPANTS_MAX: usize = 250;

/// The names that a run makes.
pub(super) struct Made {
    pub(super) conversations: Vec<String>,
    /// Of each of them.
    pub(super) users: Vec<Vec<String>>,
    pub(super) watchers: Vec<String>,
    /// Where messages are sent.
    pub(super) talk: String,
    pub(super) admin: String,
}

impl Options {
    /// Conversations of the users whose sessions end and of all watchers; each user has read
    /// something, so that they are seen.
    pub(super) async fn make(&self, target: &Target) -> Result<Made, String> {
        let run = run_name()?;
        let admin = format!("{run}-admin");
        let watchers: Vec<String> = (0..self.watchers)
            .map(|number| format!("{run}-watcher-{number}"))
            .collect();
        let users: Vec<String> = (0..self.sessions)
            .map(|number| format!("{run}-user-{number}"))
            .collect();
        let users = users
            .chunks(PARTICIPANTS_MAX - 1 - watchers.len())
            .map(<[String]>::to_vec)
            .collect();
        let mut made = Made {
            conversations: Vec::new(),
            users,
            watchers,
            talk: format!("{run}-talk"),
            admin,
        };

        create(target, &made.admin, &made.talk, &made.watchers).await?;
        for (number, members) in made.users.iter().enumerate() {
            let name = format!("{run}-{number}");
            create(
                target,
                &made.admin,
                &name,
                &[&made.watchers[..], members].concat(),
            )
            .await?;
            let id = first_message(target, &made.admin, &name).await?;
            let reading = members
                .iter()
                .enumerate()
                .map(|(place, member)| read(target, place, member, &id));
            stream::iter(reading)
                .buffer_unordered(WIDTH)
                .try_collect::<Vec<()>>()
                .await?;
            made.conversations.push(name);
        }

        Ok(made)
    }
}

async fn create(
    target: &Target,
    admin: &str,
    name: &str,
    participants: &[String],
) -> Result<(), String> {
    let body = serde_json::json!({"name": name, "participants": participants});
    let ask = Ask::post(
        "/v1/conversations",
        target.tokens.of(admin).await?,
        Bytes::from(body.to_string()),
    );
    let created = target.pool(0)?.succeed(&ask).await;
    created
        .map(drop)
        .map_err(|error| format!("creating a conversation: {error}"))
}

async fn first_message(target: &Target, admin: &str, name: &str) -> Result<String, String> {
    let body = Bytes::from_static(br#"{"text": "who is there?"}"#);
    let ask = Ask::post(
        format!("/v1/conversations/{name}/messages"),
        target.tokens.of(admin).await?,
        body,
    );

    let sent = target
        .pool(0)?
        .succeed(&ask)
        .await
        .map_err(|error| format!("sending the first message: {error}"))?;
    let sent: serde_json::Value =
        serde_json::from_slice(&sent).map_err(|error| error.to_string())?;
    let id = sent
        .get("id")
        .and_then(serde_json::Value::as_str)
        .ok_or("a message without an id")?;
    Ok(id.to_owned())
}

async fn read(target: &Target, place: usize, user: &str, id: &str) -> Result<(), String> {
    let ask = Ask::post(
        format!("/v1/messages/{id}/read"),
        target.tokens.of(user).await?,
        Bytes::new(),
    );
    let done = target.pool(place)?.succeed(&ask).await;
    done.map(drop)
        .map_err(|error| format!("marking a message as read: {error}"))
}
