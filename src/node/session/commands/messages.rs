//! What clients send of messages, checked: sends, edits, deletions, reads and reactions become
//! commands.

use uuid::Uuid;

use crate::ids::{ConversationName, IdempotencyKey, MessageId, Slot};
use crate::node::given;
use crate::node::session::said::Message;
use crate::node::session::window::Session;
use crate::problem::{Code, Problem};
use crate::protocol::{ClientFrame, REACTION_MAX};
use crate::shard::command::{Command, Delete, Edit, MarkRead, Patch, React, Send};

/// The command of a frame, and where it goes.
///
/// # Errors
/// Why it is none.
pub(super) fn command_of(
    session: &Session,
    message: &Message,
    frame: ClientFrame,
) -> Result<(Slot, Command), Problem> {
    match frame {
        ClientFrame::Send {
            conversation,
            text,
            reply_to,
            client_id,
            data,
            mentions,
        } => {
            let says = Says {
                text: Some(text),
                mentions,
                client_id,
            };
            let rest = (says, reply_to.as_deref(), data.is_some());
            send(session, message, &conversation, rest)
        }
        ClientFrame::Edit {
            message_id,
            text,
            data: _,
            mentions,
            client_id,
        } => {
            let says = Says {
                text,
                mentions,
                client_id,
            };
            edit(session, message, &message_id, says)
        }
        ClientFrame::Delete { message_id } => delete(session, &message_id),
        ClientFrame::Read { message_id } => read(session, &message_id),
        ClientFrame::React {
            message_id,
            reaction,
        } => react(session, &message_id, reaction),
        ClientFrame::Auth { .. }
        | ClientFrame::Resume { .. }
        | ClientFrame::Typing { .. }
        | ClientFrame::Watch { .. }
        | ClientFrame::Ping {} => Err(Problem::new(
            Code::Invalid,
            "a frame that concerns no message",
        )),
    }
}

/// What a frame says of a message, unchecked; what is stored with it is read from the frame itself.
struct Says {
    text: Option<String>,
    mentions: Option<Vec<String>>,
    client_id: Option<String>,
}

fn send(
    session: &Session,
    message: &Message,
    conversation: &str,
    (says, reply_to, has_data): (Says, Option<&str>, bool),
) -> Result<(Slot, Command), Problem> {
    // The name of the conversation is judged first.
    let conversation = conversation_name(conversation)?;
    let key = key_of(message, says.client_id.as_deref())?;
    let reply_to = reply_to.map(message_reference).transpose()?;
    let mentions = given::mentions(says.mentions)?.unwrap_or_default();

    // Read only where there is some: most have none.
    let data = if has_data {
        given::data(&message.text)?.flatten()
    } else {
        None
    };
    let text = given::text(says.text.unwrap_or_default())?;
    let slot = conversation.slot();
    let (source, key, unless) = (session.user.clone(), Some(key), message.later.clone());

    Ok((
        slot,
        Command::Send(Send {
            conversation,
            source,
            text,
            reply_to,
            key,
            unless,
            data,
            mentions,
        }),
    ))
}

fn edit(
    session: &Session,
    message: &Message,
    message_id: &str,
    says: Says,
) -> Result<(Slot, Command), Problem> {
    let key = Some(key_of(message, says.client_id.as_deref())?);
    let mentions = given::mentions(says.mentions)?;
    let data = given::data(&message.text)?;

    if says.text.is_none() && data.is_none() && mentions.is_none() {
        return Err(Problem::new(
            Code::Invalid,
            "give at least one of text, data and mentions",
        ));
    }

    let text = says.text.map(given::text).transpose()?;
    let message_id = known_id(message_id)?;
    let data = data.map_or(Patch::Keep, Patch::Set);
    let unless = message.later.clone();
    let edit = Edit {
        message_id,
        by: session.user.clone(),
        text,
        data,
        mentions,
        key,
        unless,
    };
    Ok((message_id.slot(), Command::Edit(edit)))
}

fn delete(session: &Session, message_id: &str) -> Result<(Slot, Command), Problem> {
    let message_id = known_id(message_id)?;
    Ok((
        message_id.slot(),
        Command::Delete(Delete {
            message_id,
            by: session.user.clone(),
        }),
    ))
}

fn key_of(message: &Message, client_id: Option<&str>) -> Result<IdempotencyKey, Problem> {
    let invalid = || {
        Problem::new(
            Code::Invalid,
            "a client_id has 1 to 128 bytes without control characters",
        )
    };
    let key = message.key_with(client_id);
    if client_id.is_some() {
        key.ok_or_else(invalid)
    } else {
        Ok(key.unwrap_or_else(IdempotencyKey::stamp))
    }
}

fn read(session: &Session, message_id: &str) -> Result<(Slot, Command), Problem> {
    let message_id = known_id(message_id)?;
    let mark = MarkRead {
        message_id,
        user: session.user.clone(),
        origin: Some(session.id),
    };
    Ok((message_id.slot(), Command::MarkRead(mark)))
}

fn react(
    session: &Session,
    message_id: &str,
    reaction: Option<u32>,
) -> Result<(Slot, Command), Problem> {
    if reaction.is_some_and(|reaction| !(1..=REACTION_MAX).contains(&reaction)) {
        return Err(Problem::new(
            Code::Invalid,
            "a reaction is a number from 1 to 1114111, or null",
        ));
    }
    let message_id = known_id(message_id)?;
    Ok((
        message_id.slot(),
        Command::React(React {
            message_id,
            user: session.user.clone(),
            reaction,
        }),
    ))
}

/// Any UUID; one that is no id of ours goes on to the owner, which checks membership first and then
/// knows no such message.
fn message_reference(id: &str) -> Result<MessageId, Problem> {
    let hyphenated = Some(id)
        .filter(|id| id.len() == 36)
        .and_then(|id| Uuid::try_parse(id).ok());
    hyphenated
        .map(MessageId)
        .ok_or_else(|| Problem::new(Code::Invalid, "reply_to is no UUID"))
}

fn known_id(id: &str) -> Result<MessageId, Problem> {
    MessageId::parse(id)
        .ok_or_else(|| Problem::new(Code::MessageUnknown, "there is no message with this id"))
}

/// The name of a conversation, as a client wrote it.
///
/// # Errors
/// `invalid_name`.
pub(in crate::node::session) fn conversation_name(name: &str) -> Result<ConversationName, Problem> {
    ConversationName::parse(name)
        .map_err(|invalid| Problem::new(Code::InvalidName, invalid.to_string()))
}
