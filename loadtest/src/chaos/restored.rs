//! What a backup has: one process is made of it, and every conversation is read there and held
//! against what clients had seen when the backup began.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use crate::chaos::clients::http::{Answer, Call, Client};
use crate::chaos::clients::{Group, World};
use crate::chaos::history::Record;
use crate::chaos::history::item::{conversation_name, item, user_name};
use crate::chaos::site::Site;
use crate::chaos::wire::token;
use crate::client::tokens::Source;
use crate::target::dev;
use crate::target::started::DATA;

/// Changes of a conversation that are compared, the newest: a restore looks at all of them itself.
const COMPARED_MAX: u64 = 2_000;
/// Changes of one page.
const PAGE: u64 = 200;
/// Conversations that are read at once.
const AT_ONCE: usize = 8;
/// For a page to be answered, also while shards are opened.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// Between two attempts at a page.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Where the process serves, and what its tokens are signed with.
struct Place {
    address: String,
    secret: String,
}

/// Restores a backup into an empty folder, and compares it; what was compared. What is not as it
/// should be is in the history then.
pub(crate) async fn compare(site: &Site, world: &World, backup: &Path) -> Result<String, String> {
    let folder = tempfile::Builder::new()
        .prefix("restored-")
        .tempdir_in(backup.parent().unwrap_or(backup))
        .map_err(|error| format!("no folder to restore into: {error}"))?;
    site.restore(backup, &folder.path().join(DATA)).await?;

    let shards = ["--shards".to_owned(), site.shards().to_string()];
    let (process, found) = dev::start_in(folder, site.binary(), &shards).await?;
    let first = found.clients.first().ok_or("it serves nowhere")?;
    let Source::Secret(secret) = found.tokens else {
        return Err("its tokens are not signed here".to_owned());
    };
    let place = Place {
        address: first.authority(),
        secret,
    };

    let (groups, mut changes) = (world.groups(), 0);
    for some in groups.chunks(AT_ONCE) {
        let reading = some.iter().map(|group| read(world, &place, group));
        for read in join_all(reading).await {
            changes += read?;
        }
    }

    // It stops in an orderly way, which takes a moment.
    tokio::task::spawn_blocking(move || drop(process))
        .await
        .map_err(|error| error.to_string())?;
    Ok(format!(
        "{changes} changes of {} conversations are in what was restored",
        groups.len()
    ))
}

/// Reads the end of a conversation; how many changes it has there.
async fn read(world: &World, place: &Place, group: &Group) -> Result<u64, String> {
    let conversation = group.conversation;
    let token = token(&place.secret, &user_name(group.admin))?;
    let mut client = Client::new(&place.address, &token);
    let known = world.log.ask(|checker| checker.last(conversation));
    let (mut after, mut changes) = (known.saturating_sub(COMPARED_MAX), 0);

    loop {
        let path = format!(
            "/v1/conversations/{}/events?after={after}&limit={PAGE}",
            conversation_name(conversation)
        );
        let answer = answered(&mut client, &path).await?;
        let list = answer.body.get("items").and_then(Value::as_array);
        let items = list
            .into_iter()
            .flatten()
            .map(item)
            .collect::<Result<Vec<_>, _>>()?;
        let end = answer.body.get("next").is_none_or(Value::is_null);
        let last = items.last().map_or(after, |item| item.seq);
        changes += u64::try_from(items.len()).unwrap_or(0);

        world.log.note(&Record::Restored {
            at: world.log.now(),
            conversation,
            after,
            items,
            end,
        });
        if end {
            return Ok(changes);
        }
        after = last;
    }
}

/// A page; one of a conversation that is not there, which nobody participates in, is empty.
async fn answered(client: &mut Client, path: &str) -> Result<Answer, String> {
    let until = Instant::now() + READ_WITHIN;
    loop {
        let said = match client.call(Call::get(path)).await {
            Ok(answer)
                if answer.status == StatusCode::OK || answer.status == StatusCode::FORBIDDEN =>
            {
                return Ok(answer);
            }
            Ok(answer) => format!("{} {}", answer.status, answer.body),
            Err(error) => format!("{error:?}"),
        };
        if Instant::now() > until {
            return Err(format!("what was restored does not answer {path}: {said}"));
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}
