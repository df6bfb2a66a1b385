//! Conversations that are deleted: nobody gets anything of them any more, whoever asks whichever
//! way.

use std::time::Duration;

use http::Method;
use serde_json::Value;

use crate::chaos::clients::http::{Answer, Call};
use crate::chaos::clients::known::{Pair, known, sending, strictly, write};

/// Between two conversations, in milliseconds.
const PAUSE_MS: (u64, u64) = (500, 3_000);
/// Messages of each.
const MESSAGES: u64 = 3;
/// Looks at each, and the pause before the next.
const LOOKS: usize = 2;
const BETWEEN: Duration = Duration::from_millis(700);

const RULE: &str = "a deleted conversation is closed to everybody";

/// Until the load is over.
pub(super) async fn run(mut pair: Pair) {
    let mut random = pair
        .world
        .random
        .split("closed", u64::from(pair.admin.user));
    while let Some(name) = pair.make(None).await {
        for number in 0..MESSAGES {
            pair.send(&name, number).await;
        }
        let id = newest(&mut pair, &name).await;
        let path = format!("/v1/conversations/{name}");
        let delete = write(Method::DELETE, &path, None);
        let outcome = pair.admin.settle(&pair.world, 0, &delete, true).await;
        if pair.is_done(&outcome) {
            pair.looked += 1;
            for _ in 0..LOOKS {
                look(&mut pair, &name, id.as_deref()).await;
                if pair.world.is_over() {
                    return;
                }
                tokio::time::sleep(BETWEEN).await;
            }
        }
        let pause = random.between(PAUSE_MS.0, PAUSE_MS.1);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

async fn newest(pair: &mut Pair, name: &str) -> Option<String> {
    let path = format!("/v1/conversations/{name}/messages?limit=1");
    let answer = strictly(&pair.world, &mut pair.member, &path).await?;
    let items = answer.body.get("items").and_then(Value::as_array)?;
    Some(items.first()?.get("id")?.as_str()?.to_owned())
}

/// Every path says to those who took part that it is gone, and to others what it says of any.
async fn look(pair: &mut Pair, name: &str, id: Option<&str>) {
    for path in ["", "/messages", "/events?after=0", "/participants"] {
        let path = format!("/v1/conversations/{name}{path}");
        let admins = strictly(&pair.world, &mut pair.admin, &path).await;
        is(pair, admins, (410, &path));
        let members = strictly(&pair.world, &mut pair.member, &path).await;
        is(pair, members, (410, &path));
        let strangers = strictly(&pair.world, &mut pair.stranger, &path).await;
        is(pair, strangers, (403, &path));
    }
    if let Some(id) = id {
        let path = format!("/v1/messages/{id}");
        let found = strictly(&pair.world, &mut pair.member, &path).await;
        is(pair, found, (404, &path));
    }

    let late = sending(name, MESSAGES);
    let call = Call::write(late.method, &late.path, late.body);
    let key = late.key.unwrap_or_default();
    if let Ok(answer) = pair.member.call(call.key(&key)).await {
        let found = known(&pair.world, answer, &late.path);
        is(pair, found, (410, "a message"));
    }

    let list = "/v1/conversations?limit=200";
    let Some(answer) = strictly(&pair.world, &mut pair.member, list).await else {
        return;
    };
    let items = answer.body.get("items").and_then(Value::as_array);
    let mut names = items
        .into_iter()
        .flatten()
        .filter_map(|item| item.get("name"));
    if names.any(|listed| listed == name) {
        pair.wrong(RULE, format!("{name} is listed"));
    }
}

fn is(pair: &Pair, found: Option<Answer>, (status, what): (u16, &str)) {
    if let Some(answer) = found.filter(|answer| answer.status != status) {
        let said = format!("{what}: {} {}, not {status}", answer.status, answer.body);
        pair.wrong(RULE, said);
    }
}
