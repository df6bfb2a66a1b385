//! Whether a session may be opened: its token, and what its client asks for.

use crate::auth::Identity;
use crate::ids::UserId;
use crate::link::front::{Authorization, Open};
use crate::node::session::hub::Inner;
use crate::problem::{Code, Problem};
use crate::protocol::upgrade as handshake;

/// The subprotocol that we speak.
const PROTOCOL: &str = "rookery.v1";
/// The subprotocol that carries a token, for browsers.
const BEARER_PROTOCOL: &str = "rookery.bearer.";

/// A session that may be opened.
pub(super) struct Checked {
    /// Who; none when the token of the subprotocol is bad.
    pub(super) identity: Option<Identity>,
    /// The client offered our subprotocol.
    pub(super) protocol: bool,
    /// `resume=wait`.
    pub(super) held: bool,
}

impl Inner {
    /// Puts down who asks as soon as that is known.
    pub(super) fn check(
        &self,
        open: &Open,
        asker: &mut Option<UserId>,
    ) -> Result<Checked, Problem> {
        handshake::no_token_in_query(&open.query)?;
        let (identity, protocol) = self.token(open)?;
        *asker = identity.as_ref().map(|identity| identity.user.clone());
        let mut held = false;

        for part in open.query.split('&').filter(|part| !part.is_empty()) {
            if part != "resume=wait" {
                let detail = format!(
                    "the query parameter {part:?} is not known here; the only one is resume=wait"
                );
                return Err(Problem::new(Code::Invalid, detail));
            }
            held = true;
        }

        open.handshake.clone().map_or(
            Ok(Checked {
                identity,
                protocol,
                held,
            }),
            Err,
        )
    }

    /// The token of the header decides; without one, that of the subprotocol.
    fn token(&self, open: &Open) -> Result<(Option<Identity>, bool), Problem> {
        let offered = &open.protocols;
        let protocol = offered.iter().any(|offer| offer == PROTOCOL);

        match &open.authorization {
            Authorization::Bearer(token) => match (self.verify)(token) {
                Ok(identity) => Ok((Some(identity), protocol)),
                Err(refused) => Err(Problem::new(Code::Unauthorized, refused.0)),
            },
            Authorization::Malformed => Err(Problem::new(
                Code::Unauthorized,
                "send Authorization: Bearer <JWT>",
            )),
            Authorization::None => match offered
                .iter()
                .find_map(|offer| offer.strip_prefix(BEARER_PROTOCOL))
            {
                Some(token) => Ok(((self.verify)(token).ok(), protocol)),
                None => Err(Problem::new(
                    Code::Unauthorized,
                    "send Authorization: Bearer <JWT>, or the subprotocols rookery.v1, \
                     rookery.bearer.<JWT>",
                )),
            },
        }
    }
}
