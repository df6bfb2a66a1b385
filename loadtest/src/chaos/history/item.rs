//! What the API says, made comparable: a message is the same in an answer, a page and a frame.

use serde_json::Value;

use crate::chaos::history::{Item, What, Words};

/// Fields that differ by who asks and where, and are no part of what happened.
const OF_THE_READER: [&str; 4] = ["t", "client_id", "reactions", "my_reaction"];

/// Fields that say what a message says now, which edits and its deletion change.
const OF_THE_WORDS: [&str; 7] = [
    "text",
    "data",
    "mentions",
    "edited",
    "deleted",
    "deleted_by",
    "superseded",
];

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

/// The text of a message after an edit: its own number first, then that of the edit.
pub(crate) fn edited_text(op: u64, edit: u64, bytes: usize) -> String {
    text_of(op, 0) + &text_of(edit, bytes).replacen("op-", "edit-", 1)
}

/// The edit that a text is of, if it is of one.
fn edit_of(text: &str) -> Option<u64> {
    text.split(' ').nth(1)?.strip_prefix("edit-")?.parse().ok()
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

    let number = |field: &str| value.get(field).and_then(Value::as_u64).ok_or_else(lacks);
    let user = |field: &str| user_number(text(field)?).ok_or_else(lacks);
    let words = || words(value).ok_or_else(lacks);

    let what = match value.get("kind").and_then(Value::as_str) {
        None => What::Message {
            source: user("source")?,
            op: match words()? {
                Words::Erased => 0,
                Words::First | Words::Edit(_) => op_of(text("text")?).ok_or_else(lacks)?,
            },
        },
        Some("created") => What::Created {
            users: users("participants")?,
        },
        Some("joined") => What::Joined {
            users: users("users")?,
        },
        Some("left") => What::Left {
            user: user("user")?,
        },
        Some("edited") => What::Edited {
            message: number("message_seq")?,
        },
        Some("deleted") => What::Deleted {
            message: number("message_seq")?,
        },
        Some("role") => What::Role {
            user: user("user")?,
            reader: text("role")? == "reader",
            muted: value.get("muted_until").is_some_and(Value::is_number),
        },
        Some(_) => return Err(lacks()),
    };

    let has_words = matches!(what, What::Message { .. } | What::Edited { .. });
    Ok(Item {
        seq,
        digest: digest(value, |name| {
            !OF_THE_READER.contains(&name) && !OF_THE_WORDS.contains(&name)
        }),
        what,
        words: if has_words { words()? } else { Words::First },
        said: if has_words {
            digest(value, |name| ["text", "data", "mentions"].contains(&name))
        } else {
            0
        },
    })
}

/// Whose words a message or an edit is shown with; none when it is neither. Who left gets it empty
/// when it was changed after that, and so it is what an erased one is.
fn words(value: &Value) -> Option<Words> {
    let text = value.get("text")?.as_str()?;
    if text.is_empty() {
        return Some(Words::Erased);
    }
    Some(edit_of(text).map_or(Words::First, Words::Edit))
}

/// FNV-1a over those fields that count, in the order of their names. A field that is null is as if
/// it were not there: a node of the version before does not know it.
fn digest(value: &Value, counts: impl Fn(&str) -> bool) -> u64 {
    let mut own = value.clone();
    if let Some(fields) = own.as_object_mut() {
        fields.retain(|name, _| counts(name));
    }
    drop_nulls(&mut own);
    let text = own.to_string();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn drop_nulls(value: &mut Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| !field.is_null());
        fields.sort_keys();
        fields.values_mut().for_each(drop_nulls);
    }
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
    fn what_a_node_of_the_version_before_does_not_know_is_no_difference_while_it_is_null() {
        let created = |settings: Value| {
            let value = json!({"t": "event", "kind": "created", "seq": 1, "by": "u1",
                "participants": ["u1"], "settings": settings});
            item(&value).unwrap().digest
        };
        let (former, later) = (json!({"post": "all"}), json!({"x": null, "post": "all"}));
        assert_eq!(created(former.clone()), created(later));
        assert_ne!(created(former), created(json!({"x": 60, "post": "all"})));
    }

    #[test]
    fn a_message_is_the_same_after_an_edit_and_after_its_deletion_but_for_its_words() {
        let sent = json!({"seq": 2, "source": "u4", "text": text_of(7, 20), "created": 7, "edited": null, "deleted": false});
        let with = |changes: Value| {
            let mut message = sent.clone();
            for (name, value) in changes.as_object().unwrap() {
                message[name] = value.clone();
            }
            item(&message).unwrap()
        };
        let first = with(json!({}));
        let edited = with(json!({"text": edited_text(7, 9, 20), "edited": 8}));
        let erased = with(json!({"text": "", "deleted": true, "deleted_by": "u4"}));

        assert_eq!(
            [first.words, edited.words, erased.words],
            [Words::First, Words::Edit(9), Words::Erased]
        );
        assert_eq!(first.what, edited.what);
        assert_eq!(erased.what, What::Message { source: 4, op: 0 });
        assert!(
            [&edited, &erased]
                .iter()
                .all(|item| item.digest == first.digest)
        );
        assert_ne!(first.said, edited.said);
        assert_ne!(with(json!({"created": 8})).digest, first.digest);
    }

    #[test]
    fn an_edit_and_a_deletion_tell_of_which_message_they_are() {
        let edited = json!({"seq": 5, "kind": "edited", "message_seq": 2, "by": "u4", "text": edited_text(7, 9, 20)});
        let found = item(&edited).unwrap();
        assert_eq!(
            (found.what, found.words),
            (What::Edited { message: 2 }, Words::Edit(9))
        );
        let superseded = json!({"seq": 5, "kind": "edited", "message_seq": 2, "by": "u4", "text": "", "superseded": true});
        let erased = item(&superseded).unwrap();
        assert_eq!((erased.digest, erased.words), (found.digest, Words::Erased));

        let deleted = json!({"seq": 6, "kind": "deleted", "message_seq": 2, "by": "u0"});
        assert_eq!(item(&deleted).unwrap().what, What::Deleted { message: 2 });
        let role = json!({"seq": 7, "kind": "role", "by": "u0", "user": "u3", "role": "member", "muted_until": 9});
        let muted = What::Role {
            user: 3,
            reader: false,
            muted: true,
        };
        assert_eq!(item(&role).unwrap().what, muted);
    }

    #[test]
    fn changes_tell_who_they_are_about() {
        let left = json!({"t": "event", "conversation": "c1", "seq": 3, "created": 1, "kind": "left", "by": "u1", "user": "u2"});
        assert_eq!(item(&left).unwrap().what, What::Left { user: 2 });
        assert!(item(&json!({"seq": 3, "kind": "unheard"})).is_err());
    }
}
