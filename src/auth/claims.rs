//! What a token says: its claims, the one that names the user, and what may be read without a key.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::auth::identity::Refused;
use crate::ids::UserId;

/// Longest token looked at, in bytes; a longer one is refused.
pub(super) const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The claim of a token that names the user; `sub` by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserClaim(Arc<str>);

impl UserClaim {
    /// The claim of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The user that a set of claims names.
    ///
    /// # Errors
    /// [`Refused`], with what is wrong: there is no such claim, or it holds what is no user id.
    pub(super) fn user(&self, claims: &Map<String, Value>) -> Result<UserId, Refused> {
        let named = claims.get(&*self.0).and_then(Value::as_str);
        let named = named
            .ok_or_else(|| Refused(format!("the token has no {} that is a string", self.0)))?;
        UserId::parse(named).map_err(|wrong| {
            Refused(format!(
                "the {} of the token is no user id: {wrong}",
                self.0
            ))
        })
    }
}

impl Default for UserClaim {
    fn default() -> Self {
        Self::new("sub")
    }
}

/// What a token says.
#[derive(Deserialize)]
pub(super) struct Claims {
    pub(super) exp: Option<NumericDate>,
    pub(super) nbf: Option<NumericDate>,
    pub(super) iss: Option<String>,
    pub(super) aud: Option<Audience>,
    /// Among them the one that names the user.
    #[serde(flatten)]
    pub(super) others: Map<String, Value>,
}

/// Seconds since 1970, possibly with a fraction (RFC 7519).
#[derive(Deserialize)]
pub(super) struct NumericDate(serde_json::Number);

impl NumericDate {
    pub(super) fn seconds(&self) -> Option<u64> {
        if let Some(whole) = self.0.as_u64() {
            return Some(whole);
        }
        let fractional = self
            .0
            .as_f64()
            .filter(|seconds| (0.0..9e15).contains(seconds))?;
        Some(Duration::from_secs_f64(fractional).as_secs())
    }
}

/// Whom a token is for: one, or any of several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    pub(super) fn names(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

/// The claims, if the signature is good; the claims themselves are checked by us.
pub(super) fn decode(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Option<Claims> {
    let mut signature_only = Validation::new(algorithm);
    signature_only.validate_exp = false;
    signature_only.validate_nbf = false;
    signature_only.validate_aud = false;
    signature_only.required_spec_claims.clear();
    jsonwebtoken::decode::<Claims>(token, key, &signature_only)
        .ok()
        .map(|decoded| decoded.claims)
}

/// The user that a token claims to be of, unverified: good enough to choose a node, for nothing
/// else.
///
/// # Errors
/// [`Refused`]: it is no token, or names no user.
pub fn claimed_user(token: &str, claim: &UserClaim) -> Result<UserId, Refused> {
    let claims =
        unverified_claims(token).ok_or_else(|| Refused::because("the token is malformed"))?;
    claim.user(&claims)
}

fn unverified_claims(token: &str) -> Option<Map<String, Value>> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}
