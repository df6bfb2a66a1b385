//! Somebody who sets their own view of a conversation, field by field, and looks whether it is as
//! they set it.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::chaos::clients::known::{AGAIN, Pair, strictly, write};
use crate::chaos::history::Outcome;
use crate::chaos::random::Random;

/// Between two changes, in milliseconds.
const PAUSE_MS: (u64, u64) = (150, 900);
/// Looks by name for one in the list.
const LISTED_EVERY: u64 = 4;
/// Attempts of unknown outcome, after which nothing is sure of a conversation any more.
const LATE_MAX: usize = 4;

const RULE: &str = "one's own view is as it was set last";

/// The fields of an own view.
const FIELDS: [&str; 3] = ["pinned", "archived", "notify_after"];

/// What is known of one field.
#[derive(Debug, Default)]
struct Field {
    now: Value,
    /// Of attempts whose outcome is unknown: each may be done at any later time.
    late: Vec<Value>,
}

/// What every strict read has to show.
#[derive(Debug)]
struct Truth {
    fields: BTreeMap<&'static str, Field>,
}

impl Truth {
    /// Nothing was set yet.
    fn fresh() -> Self {
        let field = |name| {
            let now = if name == "archived" {
                json!(false)
            } else {
                Value::Null
            };
            (name, Field { now, late: vec![] })
        };
        Self {
            fields: FIELDS.map(field).into_iter().collect(),
        }
    }

    /// What became of a change of some fields.
    fn changed(&mut self, change: &Value, outcome: &Outcome) {
        let (is_done, is_sure) = match outcome {
            Outcome::Ok { clean, .. } => (true, *clean),
            Outcome::Failed { .. } => (false, true),
            Outcome::Unknown { .. } => (false, false),
        };
        for (name, field) in &mut self.fields {
            let Some(value) = change.get(name) else {
                continue;
            };
            if is_done {
                field.now = value.clone();
            }
            if !is_sure {
                field.late.push(value.clone());
            }
        }
    }

    /// Whether so much is unknown that it is time for another conversation.
    fn is_blurred(&self) -> bool {
        let late = self.fields.values().map(|field| field.late.len());
        late.max().unwrap_or(0) > LATE_MAX
    }

    /// What is wrong with what a strict read shows.
    fn judge(&self, shown: &Value) -> Option<String> {
        self.fields.iter().find_map(|(name, field)| {
            let value = shown.get(name).unwrap_or(&Value::Null);
            let may_be = *value == field.now || field.late.contains(value);
            (!may_be).then(|| format!("{name} is shown as {value}, and is {}", field.now))
        })
    }
}

/// Until the load is over.
pub(super) async fn run(mut pair: Pair) {
    let mut random = pair.world.random.split("views", u64::from(pair.admin.user));
    while let Some(name) = pair.make(None).await {
        let mut truth = Truth::fresh();
        while !pair.world.is_over() && !truth.is_blurred() {
            let pause = random.between(PAUSE_MS.0, PAUSE_MS.1);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            change(&mut pair, &name, &mut truth, &mut random).await;
            look(&mut pair, &name, &truth).await;
        }
    }
}

async fn change(pair: &mut Pair, name: &str, truth: &mut Truth, random: &mut Random) {
    let drawn = drawn(random);
    let path = format!("/v1/conversations/{name}/me");
    let write = write(Method::PUT, &path, Some(drawn.clone()));
    let outcome = pair.member.settle(&pair.world, 0, &write, true).await;
    truth.changed(&drawn, &outcome);
    if !pair.is_done(&outcome) {
        tokio::time::sleep(AGAIN).await;
    }
}

/// One field or two, for a change leaves the others as they are.
fn drawn(random: &mut Random) -> Value {
    let mut drawn = serde_json::Map::new();
    for _ in 0..2 {
        let (field, value) = match random.below(3) {
            0 if random.percent(30) => ("pinned", Value::Null),
            0 => ("pinned", json!(random.below(1_000))),
            1 => ("archived", json!(random.percent(50))),
            _ if random.percent(30) => ("notify_after", Value::Null),
            _ => ("notify_after", json!(random.below(1 << 50))),
        };
        drawn.insert(field.to_owned(), value);
    }
    Value::Object(drawn)
}

/// By name, and sometimes in the list, for which all owners of their conversations are asked.
async fn look(pair: &mut Pair, name: &str, truth: &Truth) {
    let path = format!("/v1/conversations/{name}");
    if let Some(answer) = strictly(&pair.world, &mut pair.member, &path).await {
        pair.looked += 1;
        let wrong = match answer.status {
            200 => truth.judge(&answer.body),
            status => Some(format!("{status} {}", answer.body)),
        };
        if let Some(said) = wrong {
            pair.wrong(RULE, format!("{path}: {said}"));
        }
    }

    if !pair.looked.is_multiple_of(LISTED_EVERY) {
        return;
    }
    let list = "/v1/conversations?limit=200";
    let Some(answer) = strictly(&pair.world, &mut pair.member, list).await else {
        return;
    };
    let items = answer.body.get("items").and_then(Value::as_array);
    let item = items
        .into_iter()
        .flatten()
        .find(|item| item.get("name").is_some_and(|listed| listed == name));
    // One whose owner did not answer has a name and nothing else.
    let is_partial = item.is_some_and(|item| item.get("unread").is_none_or(Value::is_null));
    let wrong = match item {
        Some(item) if !is_partial => truth.judge(item),
        Some(_) => None,
        None => Some("it is not listed".to_owned()),
    };
    if let Some(said) = wrong {
        pair.wrong(RULE, format!("{list}: {name}: {said}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(clean: bool) -> Outcome {
        Outcome::Ok { item: None, clean }
    }

    #[test]
    fn what_was_set_last_is_to_be_shown_and_what_is_unknown_may_be() {
        let mut truth = Truth::fresh();
        let first = json!({"pinned": null, "archived": false, "notify_after": null});
        assert_eq!(truth.judge(&first), None);

        truth.changed(&json!({"pinned": 3}), &done(true));
        assert!(truth.judge(&first).is_some());
        let pinned = json!({"pinned": 3, "archived": false, "notify_after": null});
        assert_eq!(truth.judge(&pinned), None);

        let code = String::new();
        truth.changed(&json!({"archived": true}), &Outcome::Unknown { code });
        let archived = json!({"pinned": 3, "archived": true, "notify_after": null});
        assert_eq!((truth.judge(&pinned), truth.judge(&archived)), (None, None));

        // An attempt that was not answered may come behind one that was.
        truth.changed(&json!({"pinned": 4}), &done(false));
        truth.changed(&json!({"pinned": 5}), &done(true));
        for (value, may_be) in [(3, false), (4, true), (5, true)] {
            let shown = json!({"pinned": value, "archived": true, "notify_after": null});
            assert_eq!(truth.judge(&shown).is_none(), may_be, "{value}");
        }
        let refused = Outcome::Failed {
            code: "x".to_owned(),
        };
        truth.changed(&json!({"pinned": 6}), &refused);
        let shown = json!({"pinned": 6, "archived": true, "notify_after": null});
        assert!(truth.judge(&shown).is_some());
    }
}
