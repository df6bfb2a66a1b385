//! What each operation of the client contract takes and answers: its query, its body, what success
//! looks like, and every code that it can be refused with. Nodes check requests by it, and the
//! OpenAPI document is made of it.

use crate::problem::Code;
use crate::protocol::facts::{conversations, front, governing, history, messages, participants};
use crate::protocol::policy::Action;
use crate::protocol::routes::{Endpoint, Operation};

pub(crate) use crate::protocol::facts::form::{Facts, Kind, Parameter, Shape, Success};

impl Operation {
    /// What it takes and answers.
    #[must_use]
    pub fn facts(self) -> &'static Facts {
        match self {
            Self::CreateConversation => &conversations::CREATE_CONVERSATION,
            Self::OpenDirect => &conversations::OPEN_DIRECT,
            Self::ListConversations => &conversations::LIST_CONVERSATIONS,
            Self::ShowConversation => &conversations::SHOW_CONVERSATION,
            Self::ChangeConversation => &governing::CHANGE_CONVERSATION,
            Self::DeleteConversation => &governing::DELETE_CONVERSATION,
            Self::ListParticipants => &participants::LIST_PARTICIPANTS,
            Self::AddParticipants => &participants::ADD_PARTICIPANTS,
            Self::SetParticipant => &governing::SET_PARTICIPANT,
            Self::ListBans => &governing::LIST_BANS,
            Self::Ban => &governing::BAN,
            Self::EndBan => &governing::END_BAN,
            Self::RemoveParticipant => &participants::REMOVE_PARTICIPANT,
            Self::SetOwnView => &conversations::SET_OWN_VIEW,
            Self::SendMessage => &messages::SEND_MESSAGE,
            Self::ShowHistory => &history::SHOW_HISTORY,
            Self::ShowEvents => &history::SHOW_EVENTS,
            Self::ShowWatermarks => &participants::SHOW_WATERMARKS,
            Self::ShowPresence => &participants::SHOW_PRESENCE,
            Self::ShowMessage => &messages::SHOW_MESSAGE,
            Self::EditMessage => &messages::EDIT_MESSAGE,
            Self::DeleteMessage => &messages::DELETE_MESSAGE,
            Self::ShowReceipts => &messages::SHOW_RECEIPTS,
            Self::ListReactions => &messages::LIST_REACTIONS,
            Self::React => &messages::REACT,
            Self::TakeReactionBack => &messages::TAKE_REACTION_BACK,
            Self::MarkRead => &messages::MARK_READ,
            Self::OpenSession => &front::OPEN_SESSION,
            Self::ShowDocument => &front::SHOW_DOCUMENT,
        }
    }

    /// Who may do it, where not everybody may who takes part.
    pub(super) fn actions(self) -> &'static [Action] {
        governing::actions(self)
    }

    /// Every code that it can be refused with, in the order of [`Code::ALL`]. `not_found` and
    /// `method_not_allowed` are no operation's: they tell that there is none; nor is
    /// `head_too_large`, which is found before it is known.
    #[must_use]
    pub fn refusals(self) -> Vec<Code> {
        let (endpoint, _) = self.place();
        let names = |parameter: &str| endpoint.template().contains(parameter);
        let by_user = self
            .facts()
            .query
            .iter()
            .any(|parameter| matches!(parameter.kind, Kind::User));
        let common = |code: Code| match code {
            Code::Invalid => true,
            Code::Unauthorized | Code::Unavailable => endpoint != Endpoint::Document,
            Code::RateLimited | Code::Lagging | Code::Stale => {
                !matches!(endpoint, Endpoint::Document | Endpoint::WebSocket)
            }
            Code::OutcomeUnknown | Code::NotReplicated => self.writes(),
            Code::TooLarge => self.takes_body(),
            // Also where no body is needed: one that is sent may be encoded.
            Code::UnsupportedMediaType => self.writes(),
            Code::UpgradeRequired => endpoint == Endpoint::WebSocket,
            Code::InvalidName => names("{name}") || names("{user}") || by_user,
            Code::MessageUnknown => names("{id}"),
            Code::ConversationClosed => names("{name}") || self == Self::CreateConversation,
            _ => false,
        };

        Code::ALL
            .into_iter()
            .filter(|code| common(*code) || self.facts().refusals.contains(code))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_some_operations_but_those_that_tell_that_there_is_none() {
        let refused: Vec<Code> = Operation::ALL
            .into_iter()
            .flat_map(Operation::refusals)
            .collect();
        for code in Code::ALL {
            let of_none = matches!(
                code,
                Code::NotFound | Code::MethodNotAllowed | Code::HeadTooLarge
            );
            assert_eq!(refused.contains(&code), !of_none, "{code:?}");
        }
    }

    #[test]
    fn no_parameter_is_declared_twice_and_only_writes_take_bodies() {
        for operation in Operation::ALL {
            let query = operation.facts().query;
            for (at, parameter) in query.iter().enumerate() {
                assert!(
                    query[at + 1..]
                        .iter()
                        .all(|other| other.name != parameter.name),
                    "{operation:?}"
                );
            }
            assert!(
                operation.writes() || !operation.takes_body(),
                "{operation:?}"
            );
        }
    }
}
