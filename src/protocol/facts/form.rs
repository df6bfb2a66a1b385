//! What there is to say of an operation: its query, its body, its answers.

use schemars::{Schema, SchemaGenerator};

use crate::problem::Code;
use crate::protocol::{Conversation, Message};

/// Makes the schema of a type.
pub(crate) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What an operation takes and answers.
#[derive(Debug)]
pub struct Facts {
    /// A few words.
    pub summary: &'static str,
    /// What one has to know beside them.
    pub about: &'static str,
    /// Every parameter that its query may have, each at most once.
    pub query: &'static [Parameter],
    /// The body, if it takes one.
    pub body: Option<Shape>,
    /// What it answers when all is well.
    pub successes: &'static [Success],
    /// What it can be refused with beside what is common; see
    /// [`Operation::refusals`](crate::protocol::routes::Operation::refusals).
    pub refusals: &'static [Code],
}

/// A parameter of a query.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it does.
    pub about: &'static str,
}

/// What a parameter of a query may be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// How many items a page has, from 1 on.
    Limit {
        /// When the query names none.
        default: u32,
        /// At most.
        max: u32,
    },
    /// A whole number, of any length.
    Seq,
    /// The name of a user.
    User,
    /// Any UUID.
    Message,
    /// What a page gave as `next`.
    Cursor,
    /// One of these words; the first is what none of them means.
    Word(&'static [&'static str]),
}

/// An answer that is no refusal.
#[derive(Debug)]
pub struct Success {
    /// The HTTP status.
    pub status: u16,
    /// When it is given.
    pub about: &'static str,
    /// Its body, if it has one.
    pub shape: Option<Shape>,
    /// It names where the thing made is.
    pub has_location: bool,
    /// It may tell that it is not sure to be the newest.
    pub may_be_stale: bool,
    /// A member of the body, and the parameter of paths that it can be used for.
    pub leads: Option<(&'static str, &'static str)>,
}

impl Success {
    pub(in crate::protocol) const fn new(
        status: u16,
        about: &'static str,
        shape: Option<Shape>,
    ) -> Self {
        Self {
            status,
            about,
            shape,
            has_location: false,
            may_be_stale: false,
            leads: None,
        }
    }

    pub(in crate::protocol) const fn read(about: &'static str, shape: Shape) -> Self {
        Self {
            may_be_stale: true,
            ..Self::new(200, about, Some(shape))
        }
    }

    pub(in crate::protocol) const fn created(status: u16, about: &'static str) -> Self {
        let shape = SchemaGenerator::subschema_for::<Conversation>;
        let leads = Some(("name", "name"));
        Self {
            has_location: true,
            may_be_stale: status == 200,
            leads,
            ..Self::new(status, about, Some(shape))
        }
    }

    pub(in crate::protocol) const fn sent(status: u16, about: &'static str) -> Self {
        Self {
            leads: Some(("id", "id")),
            ..Self::new(
                status,
                about,
                Some(SchemaGenerator::subschema_for::<Message>),
            )
        }
    }
}
