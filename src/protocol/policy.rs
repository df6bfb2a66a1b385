//! Who may do what in a conversation: one table, by which owners decide for REST and WebSocket
//! alike, and of which the sentences in refusals and in the OpenAPI document are made. Pure.

use crate::problem::{Code, Problem};
use crate::protocol::participant::Role;
use crate::protocol::settings::{Settings, Whom};

/// What a participant does. Where it is done to another one, with what that one is; one who is
/// none counts as a member.
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "what every role may do is in the table, and nobody asks"
    )
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Reads: messages, events, receipts, participants.
    Read,
    /// Reacts, or takes a reaction back.
    React,
    /// Leaves.
    Leave,
    /// Says that they type.
    Type,
    /// Asks who is there.
    SeePresence,
    /// Sends a message.
    Send,
    /// Edits a message of their own.
    Edit,
    /// Deletes a message of their own.
    DeleteOwn,
    /// Deletes a message of another one.
    DeleteOthers,
    /// Adds participants.
    Add,
    /// Mutes, or ends that.
    Mute(Role),
    /// Bans.
    Ban(Role),
    /// Ends a ban, or asks who is banned.
    Unban,
    /// Removes.
    Remove(Role),
    /// Gives another role.
    GiveRole,
    /// Changes title, data and settings.
    Change,
    /// Deletes the conversation.
    Close,
}

/// A setting that has a say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    Post,
    Add,
    Typing,
    Presence,
}

impl Setting {
    fn lets(self, settings: &Settings) -> bool {
        match self {
            Self::Post => settings.post == Whom::All,
            Self::Add => settings.add == Whom::All,
            Self::Typing => settings.typing,
            Self::Presence => settings.presence,
        }
    }

    /// What the setting has to be.
    fn wanted(self) -> &'static str {
        match self {
            Self::Post => "settings.post is all",
            Self::Add => "settings.add is all",
            Self::Typing => "settings.typing is true",
            Self::Presence => "settings.presence is true",
        }
    }
}

/// What an action takes.
struct Takes {
    /// One of these roles …
    roles: &'static [Role],
    /// … or that of a member, where this setting lets them …
    member: Option<Setting>,
    /// … and where this setting lets anybody.
    only: Option<Setting>,
}

const ALL: &[Role] = &[Role::Admin, Role::Moderator, Role::Member, Role::Reader];
const LEADING: &[Role] = &[Role::Admin, Role::Moderator];
const ADMIN: &[Role] = &[Role::Admin];

impl Action {
    /// The table.
    fn takes(self) -> Takes {
        let takes = |roles, member, only| Takes {
            roles,
            member,
            only,
        };
        match self {
            Self::Read | Self::React | Self::Leave | Self::DeleteOwn => takes(ALL, None, None),
            Self::SeePresence => takes(ALL, None, Some(Setting::Presence)),
            Self::Type => takes(LEADING, Some(Setting::Post), Some(Setting::Typing)),
            Self::Send | Self::Edit => takes(LEADING, Some(Setting::Post), None),
            Self::Add => takes(LEADING, Some(Setting::Add), None),
            Self::DeleteOthers | Self::Unban => takes(LEADING, None, None),
            Self::Mute(target) | Self::Ban(target) | Self::Remove(target) => match target {
                Role::Member | Role::Reader => takes(LEADING, None, None),
                Role::Moderator => takes(ADMIN, None, None),
                Role::Admin => takes(&[], None, None),
            },
            Self::GiveRole | Self::Change | Self::Close => takes(ADMIN, None, None),
        }
    }

    /// In the words of a refusal.
    fn words(self) -> &'static str {
        match self {
            Self::Read => "reading",
            Self::React => "reacting",
            Self::Leave => "leaving",
            Self::Type => "typing",
            Self::SeePresence => "seeing who is there",
            Self::Send => "sending messages",
            Self::Edit => "editing one's own messages",
            Self::DeleteOwn => "deleting one's own messages",
            Self::DeleteOthers => "deleting the messages of others",
            Self::Add => "adding participants",
            Self::Mute(Role::Admin) => "muting the admin",
            Self::Mute(Role::Moderator) => "muting moderators",
            Self::Mute(Role::Member | Role::Reader) => "muting members and readers",
            Self::Ban(Role::Admin) => "banning the admin",
            Self::Ban(Role::Moderator) => "banning moderators",
            Self::Ban(Role::Member | Role::Reader) => "banning members and readers",
            Self::Unban => "seeing and ending bans",
            Self::Remove(Role::Admin) => "removing the admin",
            Self::Remove(Role::Moderator) => "removing moderators",
            Self::Remove(Role::Member | Role::Reader) => "removing members and readers",
            Self::GiveRole => "giving roles",
            Self::Change => "changing title, data and settings",
            Self::Close => "deleting the conversation",
        }
    }

    /// Who may do it, in one sentence.
    #[must_use]
    pub(crate) fn sentence(self) -> String {
        let Takes {
            roles,
            member,
            only,
        } = self.takes();
        let named: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
        let who = if roles.len() == ALL.len() {
            "any role".to_owned()
        } else if roles.is_empty() {
            "what nobody has".to_owned()
        } else {
            format!("the role {}", named.join(" or "))
        };

        let member = member.map_or(String::new(), |setting| {
            format!(", or member where {}", setting.wanted())
        });
        let only = only.map_or(String::new(), |setting| {
            format!("; and only where {}", setting.wanted())
        });
        format!("{} takes {who}{member}{only}", self.words())
    }
}

/// Whether a participant of this role may do that under these settings.
///
/// # Errors
/// `forbidden`, whose detail names the roles and the setting that would allow it.
pub(crate) fn may(actor: Role, settings: &Settings, action: Action) -> Result<(), Problem> {
    let takes = action.takes();
    let lets = |setting: Option<Setting>| setting.is_some_and(|setting| setting.lets(settings));
    let by_role = takes.roles.contains(&actor) || (actor == Role::Member && lets(takes.member));
    if by_role && takes.only.is_none_or(|only| only.lets(settings)) {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden, action.sentence()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [Role; 4] = [Role::Admin, Role::Moderator, Role::Member, Role::Reader];

    /// Every combination of the settings that have a say.
    fn settings() -> Vec<Settings> {
        let mut all = Vec::new();
        for post in [Whom::All, Whom::Moderators] {
            for add in [Whom::All, Whom::Moderators] {
                for (typing, presence) in
                    [(true, true), (true, false), (false, true), (false, false)]
                {
                    all.push(Settings {
                        retention_s: None,
                        post,
                        add,
                        typing,
                        presence,
                        edit_window_s: None,
                    });
                }
            }
        }

        all
    }

    /// The table of the contract, written out: admin, moderator, member, reader. `y` yes, `n` no,
    /// `p` where settings.post is all, `a` where settings.add is all; behind it the setting that
    /// all of it takes.
    const TABLE: [(Action, &str, &str); 24] = [
        (Action::Read, "yyyy", ""),
        (Action::React, "yyyy", ""),
        (Action::Leave, "yyyy", ""),
        (Action::DeleteOwn, "yyyy", ""),
        (Action::SeePresence, "yyyy", "presence"),
        (Action::Type, "yypn", "typing"),
        (Action::Send, "yypn", ""),
        (Action::Edit, "yypn", ""),
        (Action::DeleteOthers, "yynn", ""),
        (Action::Unban, "yynn", ""),
        (Action::Mute(Role::Member), "yynn", ""),
        (Action::Mute(Role::Reader), "yynn", ""),
        (Action::Ban(Role::Member), "yynn", ""),
        (Action::Ban(Role::Reader), "yynn", ""),
        (Action::Remove(Role::Member), "yynn", ""),
        (Action::Remove(Role::Reader), "yynn", ""),
        (Action::Add, "yyan", ""),
        (Action::Mute(Role::Moderator), "ynnn", ""),
        (Action::Ban(Role::Moderator), "ynnn", ""),
        (Action::Remove(Role::Moderator), "ynnn", ""),
        (Action::GiveRole, "ynnn", ""),
        (Action::Change, "ynnn", ""),
        (Action::Close, "ynnn", ""),
        (Action::Ban(Role::Admin), "nnnn", ""),
    ];

    #[test]
    fn every_cell_is_as_in_the_contract() {
        for (action, row, only) in TABLE {
            for (role, cell) in ROLES.into_iter().zip(row.chars()) {
                for settings in settings() {
                    let by_role = match cell {
                        'y' => true,
                        'p' => settings.post == Whom::All,
                        'a' => settings.add == Whom::All,
                        _ => false,
                    };
                    let let_at_all = match only {
                        "typing" => settings.typing,
                        "presence" => settings.presence,
                        _ => true,
                    };
                    let told = may(role, &settings, action);
                    let place = format!("{role:?} {action:?} {settings:?}");
                    assert_eq!(told.is_ok(), by_role && let_at_all, "{place}");
                    let code = told.err().map(|problem| problem.code);
                    assert!(matches!(code, None | Some(Code::Forbidden)), "{place}");
                }
            }
        }
    }

    #[test]
    fn nobody_mutes_bans_or_removes_the_admin() {
        for action in [Action::Mute, Action::Ban, Action::Remove] {
            for role in ROLES {
                assert!(may(role, &Settings::default(), action(Role::Admin)).is_err());
            }
        }
    }

    #[test]
    fn a_refusal_names_the_roles_and_the_setting_that_would_allow_it() {
        let told = |role, settings: Settings, action| {
            let refused = may(role, &settings, action).expect_err("refused");
            refused.detail.into_owned()
        };
        let closed = Settings {
            post: Whom::Moderators,
            typing: false,
            ..Settings::default()
        };

        assert_eq!(
            told(Role::Member, closed, Action::Send),
            "sending messages takes the role admin or moderator, or member where settings.post is \
             all"
        );
        assert_eq!(
            told(Role::Admin, closed, Action::Type),
            "typing takes the role admin or moderator, or member where settings.post is all; and \
             only where settings.typing is true"
        );
        assert_eq!(
            told(Role::Moderator, closed, Action::GiveRole),
            "giving roles takes the role admin"
        );
        assert_eq!(
            told(Role::Moderator, closed, Action::Ban(Role::Admin)),
            "banning the admin takes what nobody has"
        );
    }
}
