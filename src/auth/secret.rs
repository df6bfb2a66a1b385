//! The shared secret of HS256: how long it has to be, and a token that is signed with it.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::clock::Clock;
use crate::ids::UserId;

/// Shortest shared secret, in bytes: as long as the hash of HS256.
pub const SECRET_BYTES_MIN: usize = 32;

/// Makes an HS256 token.
///
/// # Errors
/// When the secret cannot be used.
pub fn issue(
    secret: &str,
    user: &UserId,
    lifetime: Duration,
    clock: &Clock,
) -> Result<String, String> {
    #[derive(Serialize)]
    struct Issued<'a> {
        sub: &'a str,
        iat: u64,
        exp: u64,
    }
    let key = EncodingKey::from_secret(checked_secret(secret)?);
    let now = clock.now_ms() / 1_000;
    let claims = Issued {
        sub: user.as_str(),
        iat: now,
        exp: now.saturating_add(lifetime.as_secs()),
    };
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .map_err(|error| error.to_string())
}

/// The bytes of a secret that is long enough.
///
/// # Errors
/// One clear line: it is too short.
pub(super) fn checked_secret(secret: &str) -> Result<&[u8], String> {
    if secret.len() >= SECRET_BYTES_MIN {
        Ok(secret.as_bytes())
    } else {
        Err(format!(
            "the shared secret of HS256 must have at least {SECRET_BYTES_MIN} bytes"
        ))
    }
}
