//! What may be done to a message, and what comes of it. Pure.

use std::sync::Arc;

use crate::ids::{MessageId, UserId};
use crate::log::record::Content;
use crate::problem::{Code, Problem};
use crate::protocol::EDITS_MAX;
use crate::protocol::policy::Action;
use crate::shard::command::{Edit, Patch};
use crate::shard::file::store::HeldMessage;

/// The refusal of whatever needs a message that is deleted.
#[must_use]
pub(in crate::shard) fn message_deleted() -> Problem {
    Problem::new(Code::MessageDeleted, "the message was deleted")
}

/// The refusal of what a later message of the same socket has passed.
#[must_use]
pub(in crate::shard) fn overtaken() -> Problem {
    let detail =
        "a later message of the same socket was written before it, and it was not: send it again";
    Problem::unavailable(detail)
}

/// Those mentioned who participate, each once, in their order.
#[must_use]
pub(in crate::shard) fn mentioned(
    sent: &[UserId],
    participates: impl Fn(&UserId) -> bool,
) -> Vec<UserId> {
    let mut mentions: Vec<UserId> = Vec::new();
    for user in sent {
        if participates(user) && !mentions.contains(user) {
            mentions.push(user.clone());
        }
    }
    mentions
}

/// For how long after they were sent messages are edited, and what time it is.
#[derive(Debug, Clone, Copy)]
pub(in crate::shard) struct Window {
    pub(in crate::shard) seconds: u32,
    /// Unix milliseconds, of the record that would be written.
    pub(in crate::shard) now_ms: u64,
}

impl Window {
    fn is_over(&self, id: MessageId) -> bool {
        self.now_ms >= id.sent_ms() + u64::from(self.seconds) * 1_000
    }
}

/// What editing hangs on beside the message.
pub(in crate::shard) struct Rights<P> {
    /// Whether the one who edits may do that in the conversation.
    pub(in crate::shard) may_edit: Result<(), Problem>,
    pub(in crate::shard) window: Option<Window>,
    /// Whether a user participates.
    pub(in crate::shard) participates: P,
}

/// What the message says after an edit; `None` when that is what it says already.
///
/// # Errors
/// `not_sender`, what its sender may not do in their conversation, `message_deleted`,
/// `edit_window_over`.
pub(in crate::shard) fn edited(
    message: &HeldMessage,
    edit: &Edit,
    rights: Rights<impl Fn(&UserId) -> bool>,
) -> Result<Option<Content>, Problem> {
    if message.at.source != edit.by {
        return Err(Problem::new(
            Code::NotSender,
            "only its sender may edit a message",
        ));
    }
    rights.may_edit?;
    if message.at.deleted {
        return Err(message_deleted());
    }

    let before = &message.content;
    let content = Content {
        text: edit
            .text
            .clone()
            .unwrap_or_else(|| Arc::clone(&before.text)),
        data: match &edit.data {
            Patch::Keep => before.data.clone(),
            Patch::Set(data) => data.clone(),
        },
        mentions: match &edit.mentions {
            None => before.mentions.clone(),
            Some(sent) => mentioned(sent, rights.participates),
        },
    };
    if content == *before {
        return Ok(None);
    }
    if message.edits >= EDITS_MAX {
        let detail = format!("a message is edited at most {EDITS_MAX} times; send another one");
        return Err(Problem::new(Code::EditWindowOver, detail));
    }
    if let Some(window) = rights
        .window
        .filter(|window| window.is_over(edit.message_id))
    {
        let detail = format!(
            "here a message is edited within {} s (settings.edit_window_s); send another one",
            window.seconds
        );
        return Err(Problem::new(Code::EditWindowOver, detail));
    }
    Ok(Some(content))
}

/// Whether a deletion is to be written: not when the message is deleted already.
///
/// # Errors
/// `forbidden`.
pub(in crate::shard) fn deleted(
    message: &HeldMessage,
    by: &UserId,
    may: impl FnOnce(Action) -> Result<(), Problem>,
) -> Result<bool, Problem> {
    may(if message.at.source == *by {
        Action::DeleteOwn
    } else {
        Action::DeleteOthers
    })?;
    Ok(!message.at.deleted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Seq;
    use crate::shard::file::store::Located;
    use crate::shard::file::store::tests::{conversation, user};

    fn held(edits: u32, deleted: bool) -> HeldMessage {
        let at = Located {
            conversation: conversation("c"),
            seq: Seq(2),
            source: user("alice"),
            deleted,
        };
        let content = Content {
            text: "before".into(),
            data: Some("{}".into()),
            mentions: vec![user("bob")],
        };
        HeldMessage { at, content, edits }
    }

    fn edit(by: &str, text: &str) -> Edit {
        let message_id = MessageId::new(1, conversation("c").slot(), 2);
        Edit {
            message_id,
            by: user(by),
            text: Some(text.into()),
            data: Patch::Keep,
            mentions: None,
            key: None,
            unless: Vec::new(),
        }
    }

    fn outcome(message: &HeldMessage, edit: &Edit) -> Result<Option<Content>, Code> {
        let rights = Rights {
            may_edit: Ok(()),
            window: None,
            participates: |user: &UserId| user.as_str() != "stranger",
        };
        edited(message, edit, rights).map_err(|problem| problem.code)
    }

    #[test]
    fn only_the_sender_edits_and_only_what_is_there() {
        assert_eq!(
            outcome(&held(0, false), &edit("bob", "x")),
            Err(Code::NotSender)
        );
        assert_eq!(
            outcome(&held(0, true), &edit("bob", "x")),
            Err(Code::NotSender)
        );
        assert_eq!(
            outcome(&held(0, true), &edit("alice", "x")),
            Err(Code::MessageDeleted)
        );
        assert_eq!(outcome(&held(0, false), &edit("alice", "before")), Ok(None));

        let after = outcome(&held(0, false), &edit("alice", "after"))
            .expect("may")
            .expect("changes");
        assert_eq!(
            after,
            Content {
                text: "after".into(),
                ..held(0, false).content
            }
        );
    }

    #[test]
    fn a_message_is_edited_a_thousand_times_and_what_changes_nothing_is_no_edit() {
        assert!(outcome(&held(EDITS_MAX - 1, false), &edit("alice", "x")).is_ok());
        assert_eq!(
            outcome(&held(EDITS_MAX, false), &edit("alice", "x")),
            Err(Code::EditWindowOver)
        );
        assert_eq!(
            outcome(&held(EDITS_MAX, true), &edit("alice", "x")),
            Err(Code::MessageDeleted)
        );
        assert_eq!(
            outcome(&held(EDITS_MAX, false), &edit("alice", "before")),
            Ok(None)
        );
    }

    #[test]
    fn what_forbids_an_edit_is_told_in_the_order_of_the_contract() {
        let with = |message: &HeldMessage, by: &str, may_edit, seconds: Option<u32>, now_ms| {
            let rights = Rights {
                may_edit,
                window: seconds.map(|seconds| Window { seconds, now_ms }),
                participates: |_: &UserId| true,
            };
            edited(message, &edit(by, "after"), rights).map_err(|problem| problem.code)
        };
        let muted = || Err(Problem::new(Code::Muted, "muted"));
        let (there, gone) = (held(0, false), held(0, true));

        assert_eq!(
            with(&gone, "bob", muted(), Some(0), 1),
            Err(Code::NotSender)
        );
        assert_eq!(with(&gone, "alice", muted(), Some(0), 1), Err(Code::Muted));

        let deleted = Err(Code::MessageDeleted);
        assert_eq!(with(&gone, "alice", Ok(()), Some(0), 1), deleted);

        // It was sent at 1.
        let over = Err(Code::EditWindowOver);
        assert_eq!(with(&there, "alice", Ok(()), Some(0), 1), over);
        assert!(with(&there, "alice", Ok(()), Some(2), 2_000).is_ok());
        assert_eq!(with(&there, "alice", Ok(()), Some(2), 2_001), over);
        assert!(with(&there, "alice", Ok(()), None, u64::MAX).is_ok());
    }

    #[test]
    fn what_is_named_changes_and_those_mentioned_participate() {
        let cleared = Edit {
            data: Patch::Set(None),
            text: None,
            ..edit("alice", "")
        };

        let bare = outcome(&held(0, false), &cleared)
            .expect("may")
            .expect("changes");
        assert_eq!(
            bare,
            Content {
                data: None,
                ..held(0, false).content
            }
        );

        let sent = ["stranger", "carol", "bob", "carol"].map(user).to_vec();
        let mentions = Edit {
            mentions: Some(sent),
            text: None,
            ..edit("alice", "")
        };

        let after = outcome(&held(0, false), &mentions)
            .expect("may")
            .expect("changes");
        assert_eq!(after.mentions, [user("carol"), user("bob")]);
        let same = Edit {
            mentions: Some(["stranger", "bob"].map(user).to_vec()),
            text: None,
            ..edit("alice", "")
        };
        assert_eq!(outcome(&held(0, false), &same), Ok(None));
    }

    #[test]
    fn the_sender_and_the_admin_delete_and_a_second_time_changes_nothing() {
        let by = |message: &HeldMessage, by: &str| {
            let may = |action| match action {
                Action::DeleteOthers if by != "admin" => {
                    Err(Problem::new(Code::Forbidden, "not the admin"))
                }
                _ => Ok(()),
            };
            deleted(message, &user(by), may).map_err(|problem| problem.code)
        };

        for who in ["alice", "admin"] {
            assert_eq!(
                (by(&held(0, false), who), by(&held(0, true), who)),
                (Ok(true), Ok(false))
            );
        }

        for message in [held(0, false), held(0, true)] {
            assert_eq!(by(&message, "bob"), Err(Code::Forbidden));
        }
    }
}
