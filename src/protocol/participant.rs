//! Participants: what they are, who is banned, and the bodies that change that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Seq, UserId};
use crate::protocol::limits::REASON_BYTES_MAX;
use crate::protocol::null::not_null;
use crate::protocol::whole;

/// Role of a participant. There is exactly one admin.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Does everything that there is to do.
    Admin,
    /// Keeps order: deletes, mutes, bans, removes.
    Moderator,
    /// Everyone else who takes part.
    #[default]
    Member,
    /// Reads and reacts.
    Reader,
}

impl Role {
    /// Every one there is.
    pub(crate) const ALL: [Self; 4] = [Self::Admin, Self::Moderator, Self::Member, Self::Reader];

    /// As it is written.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Moderator => "moderator",
            Self::Member => "member",
            Self::Reader => "reader",
        }
    }
}

/// A participant, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Participant {
    /// The user.
    pub name: UserId,
    /// What they may do.
    pub role: Role,
    /// Until when they are muted, in unix milliseconds; null when they are not.
    #[serde(default)]
    pub muted_until: Option<u64>,
    /// Number of the change that let them in last.
    #[serde(default)]
    pub joined_seq: Seq,
}

/// A user who is banned from a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Ban {
    /// The user.
    pub user: UserId,
    /// Who banned them.
    pub by: UserId,
    /// When, in unix milliseconds.
    pub at: u64,
    /// Why, if that was told.
    pub reason: Option<String>,
}

/// Body of changing what a participant may do: what is absent stays, and something must be there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct ParticipantBody {
    /// What they are to be; `admin` hands the office over, and the caller becomes moderator.
    #[serde(default, deserialize_with = "not_null")]
    #[schemars(with = "Role")]
    pub role: Option<Role>,
    /// Until when they are to be muted, in unix milliseconds; null, or a time that has come, ends
    /// it.
    #[serde(default, deserialize_with = "whole::moment")]
    #[schemars(schema_with = "whole::moment_schema")]
    pub muted_until: Option<Option<u64>>,
}

/// Body of a ban, which may be left out.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BanBody {
    /// Why; its length is counted in bytes of UTF-8.
    #[serde(default)]
    #[schemars(length(max = REASON_BYTES_MAX))]
    pub reason: Option<String>,
}
