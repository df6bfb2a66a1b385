//! Conversations of two: a name that follows from both, whoever asks, and what nobody may do there.
//! Pure.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::ids::{ConversationName, UserId};
use crate::problem::{Code, Problem};
use crate::protocol::policy::Action;

/// What their names begin with, and no other creation's.
const PREFIX: &str = "d:";

/// Bytes of such a name: the prefix, and a digest of 32 bytes in base64.
const NAME_BYTES: usize = PREFIX.len() + 43;

/// The name of the conversation of these two; the same in either order.
#[must_use]
pub(crate) fn name_of(one: &UserId, other: &UserId) -> Option<ConversationName> {
    let (first, second) = if one <= other {
        (one, other)
    } else {
        (other, one)
    };

    // No name of a user has a zero byte, so no two pairs give the same bytes.
    let digest = Sha256::new()
        .chain_update("rookery direct\0")
        .chain_update(first.as_str())
        .chain_update("\0")
        .chain_update(second.as_str())
        .finalize();
    let name = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(digest));
    ConversationName::parse(&name).ok()
}

/// Whether a conversation of this name is one of two.
#[must_use]
pub(crate) fn is_direct(name: &ConversationName) -> bool {
    is_reserved(name) && name.as_str().len() == NAME_BYTES
}

/// Whether no client may choose this name.
#[must_use]
pub(crate) fn is_reserved(name: &ConversationName) -> bool {
    name.as_str().starts_with(PREFIX)
}

/// Whether an action is anybody's in a conversation of two: there neither has rights over the
/// other, and nobody else is added.
///
/// # Errors
/// `forbidden`.
pub(crate) fn may(action: Action) -> Result<(), Problem> {
    match action {
        Action::Read
        | Action::React
        | Action::Leave
        | Action::Type
        | Action::SeePresence
        | Action::Send
        | Action::Edit
        | Action::DeleteOwn => Ok(()),
        Action::DeleteOthers
        | Action::Add
        | Action::Mute(_)
        | Action::Ban(_)
        | Action::Unban
        | Action::Remove(_)
        | Action::GiveRole
        | Action::Change
        | Action::Close => Err(Problem::new(
            Code::Forbidden,
            "in a conversation of two neither has rights over the other, and nobody else is \
             added; create another conversation for that",
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).expect("a name")
    }

    proptest! {
        #[test]
        fn two_have_one_name_and_other_pairs_have_others(
            users in prop::collection::hash_set("[a-z.:_|+-]{1,9}", 3),
        ) {
            let users: Vec<UserId> = users.iter().filter(|name| *name != "." && *name != "..").map(|name| user(name)).collect();
            prop_assume!(users.len() == 3);
            let name = |one: usize, other: usize| name_of(&users[one], &users[other]).expect("a name");
            prop_assert_eq!(name(0, 1), name(1, 0));
            prop_assert_ne!(name(0, 1), name(0, 2));
            prop_assert!(is_direct(&name(0, 1)) && is_reserved(&name(0, 1)));
        }
    }

    #[test]
    fn the_name_of_two_is_the_same_for_ever() {
        let name = name_of(&user("alice"), &user("bob")).expect("a name");
        assert_eq!(
            name.as_str(),
            "d:M75Zkc0YARqdwZCstbmK945VpUYN5MA5I8m8-PSgOE4"
        );
    }

    #[test]
    fn other_names_are_no_conversations_of_two() {
        for text in ["d", "general", "D:x", "d:short"] {
            let name = ConversationName::parse(text).expect("a name");
            assert!(!is_direct(&name), "{text}");
            assert_eq!(is_reserved(&name), text == "d:short", "{text}");
        }
    }
}
