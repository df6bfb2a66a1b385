//! What clients give with a message, checked: alike in bodies and in frames.

use std::sync::Arc;

use crate::ids::UserId;
use crate::problem::{Code, Problem};
use crate::protocol::{JsonObject, MENTIONS_MAX, TEXT_BYTES_MAX};

/// A text.
///
/// # Errors
/// `invalid`, `text_too_long`.
pub(super) fn text(text: String) -> Result<Arc<str>, Problem> {
    if text.is_empty() {
        return Err(Problem::new(Code::Invalid, "text has at least one byte"));
    }
    if text.len() > TEXT_BYTES_MAX {
        let detail = format!("a text has at most {TEXT_BYTES_MAX} bytes");
        return Err(Problem::new(Code::TextTooLong, detail));
    }
    Ok(Arc::from(text))
}

/// Names of those who are meant, as they were sent.
///
/// # Errors
/// `invalid`, `invalid_name`.
pub(super) fn mentions(names: Option<Vec<String>>) -> Result<Option<Vec<UserId>>, Problem> {
    let Some(names) = names else { return Ok(None) };
    if names.len() > MENTIONS_MAX {
        return Err(Problem::new(
            Code::Invalid,
            format!("a message mentions at most {MENTIONS_MAX}"),
        ));
    }
    let parse = |name: &String| {
        UserId::parse(name)
            .map_err(|invalid| Problem::new(Code::InvalidName, format!("mentions: {invalid}")))
    };
    names.iter().map(parse).collect::<Result<_, _>>().map(Some)
}

/// The member `data` of a body or frame that is known to be JSON, in compact text: whether it is
/// there, and whether it is null.
///
/// # Errors
/// `invalid`, `too_large`.
pub(super) fn data(body: &[u8]) -> Result<Option<Option<Arc<str>>>, Problem> {
    let member = JsonObject::member(body, "data")?;
    Ok(member.map(|object| object.map(|object| Arc::clone(object.text()))))
}
