//! Token in, identity out. Knows JSON Web Tokens and keys, not HTTP.
//!
//! - A key takes one algorithm: the secret takes HS256, a key of the JWKS the one of its type. What
//!   the token's header says only chooses among them, so a public key never serves as a secret and
//!   `none` is nothing.
//! - Times are compared with [`Clock`](crate::clock::Clock), never with the system's clock behind
//!   its back.
//! - A remembered token is good no longer than its `exp`, and forgotten when the keys change.
//! - Nothing here logs or prints a token or a secret.

pub use claims::{UserClaim, claimed_user};
pub use identity::{Identity, Refused};
pub use secret::{SECRET_BYTES_MIN, issue};
pub use verifier::{Config, LEEWAY, Verifier};

mod verifier;

mod keys;

mod claims;

mod identity;

mod secret;

#[cfg(test)]
mod tests;
