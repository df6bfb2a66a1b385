//! What the API says, made comparable: a message is the same in an answer, a page and a frame.

use serde_json::Value;

use crate::chaos::history::{Item, What};

/// Fields that differ by who asks and where, and are no part of what happened.
const OF_THE_READER: [&str; 3] = ["t", "reactions", "my_reaction"];

/// The name of a user by number.
pub(crate) fn user_name(user: u32) -> String {
    format!("u{user}")
}

/// The number of a user; all names here have one.
pub(crate) fn user_number(name: &str) -> Option<u32> {
    name.strip_prefix('u')?.parse().ok()
}

/// The name of a conversation by number.
pub(crate) fn conversation_name(conversation: u32) -> String {
    format!("c{conversation}")
}

/// The number of a conversation.
pub(crate) fn conversation_number(name: &str) -> Option<u32> {
    name.strip_prefix('c')?.parse().ok()
}

/// The text of an operation's message: its number first.
pub(crate) fn text_of(op: u64, bytes: usize) -> String {
    let mut text = format!("op-{op} ");
    while text.len() < bytes {
        text.push_str("lorem ipsum ");
    }
    text
}

/// The operation that a text belongs to.
pub(crate) fn op_of(text: &str) -> Option<u64> {
    text.strip_prefix("op-")?.split(' ').next()?.parse().ok()
}

/// A message or an event, out of its JSON; an error says what it lacks.
pub(crate) fn item(value: &Value) -> Result<Item, String> {
    let lacks = || format!("this is neither a message nor an event: {value}");
    let seq = value.get("seq").and_then(Value::as_u64).ok_or_else(lacks)?;
    let text = |field: &str| value.get(field).and_then(Value::as_str).ok_or_else(lacks);
    let users = |field: &str| {
        let list = value
            .get(field)
            .and_then(Value::as_array)
            .ok_or_else(lacks)?;
        list.iter()
            .map(|name| name.as_str().and_then(user_number).ok_or_else(lacks))
            .collect::<Result<Vec<_>, _>>()
    };

    let what = match value.get("kind").and_then(Value::as_str) {
        None => {
            let source = user_number(text("source")?).ok_or_else(lacks)?;
            What::Message {
                source,
                op: op_of(text("text")?).ok_or_else(lacks)?,
            }
        }
        Some("created") => What::Created {
            users: users("participants")?,
        },
        Some("joined") => What::Joined {
            users: users("users")?,
        },
        Some("left") => What::Left {
            user: user_number(text("user")?).ok_or_else(lacks)?,
        },
        Some(_) => return Err(lacks()),
    };

    Ok(Item {
        seq,
        digest: digest(value),
        what,
    })
}

/// FNV-1a over the fields in the order of their names.
fn digest(value: &Value) -> u64 {
    let mut own = value.clone();
    if let Some(fields) = own.as_object_mut() {
        fields.retain(|name, _| !OF_THE_READER.contains(&name.as_str()));
        fields.sort_keys();
    }
    let text = own.to_string();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_the_same_in_an_answer_and_in_a_frame() {
        let frame = json!({"t": "message", "id": "i", "conversation": "c1", "seq": 2, "source": "u4", "text": "op-7 x",
            "reply_to": null, "created": 7, "edited": null, "deleted": false});
        let mut answer = frame.clone();
        answer["reactions"] = json!({"5": 1});
        answer["my_reaction"] = json!(null);
        answer.as_object_mut().unwrap().remove("t");
        assert_eq!(item(&frame).unwrap(), item(&answer).unwrap());
        assert_eq!(
            item(&frame).unwrap().what,
            What::Message { source: 4, op: 7 }
        );
        answer["created"] = json!(8);
        assert_ne!(item(&frame).unwrap().digest, item(&answer).unwrap().digest);
    }

    #[test]
    fn changes_tell_who_they_are_about() {
        let left = json!({"t": "event", "conversation": "c1", "seq": 3, "created": 1, "kind": "left", "by": "u1", "user": "u2"});
        assert_eq!(item(&left).unwrap().what, What::Left { user: 2 });
        assert!(item(&json!({"seq": 3, "kind": "unheard"})).is_err());
    }
}
