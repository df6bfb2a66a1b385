//! What the processes of a cluster are given alike: how tokens are verified, and the key of their
//! links.

use crate::auth::Verifier;
use crate::clock::Clock;
use crate::config::clients::AuthSettings;
use crate::config::secrets::{CLUSTER_KEY, JWT_SECRET, Secret, Secrets};
use crate::link::proof::ClusterKey;

/// Verifies tokens by what all processes of a cluster are given alike.
///
/// # Errors
/// One clear line: neither secret nor JWKS is given, or one that cannot be.
pub(crate) fn shared_verifier(
    auth: &AuthSettings,
    secret: Option<&Secret>,
) -> Result<Verifier, String> {
    if secret.is_none() && auth.jwks.is_none() {
        return Err(format!(
            "no key for the tokens of clients: set {JWT_SECRET} or {JWT_SECRET}_FILE, or give --jwks; the same for all \
             nodes and routers"
        ));
    }
    Verifier::new(auth.config(secret), Clock::system())
}

/// The key by which the processes of a cluster trust each other's links.
///
/// # Errors
/// One clear line: it is not given, or too short.
pub(crate) fn cluster_key(secrets: &Secrets) -> Result<ClusterKey, String> {
    let key = secrets.cluster_key.as_ref().ok_or_else(|| {
        format!("no key for links: set {CLUSTER_KEY} or {CLUSTER_KEY}_FILE, the same for all nodes and routers")
    })?;
    ClusterKey::new(key.expose().as_bytes()).map_err(|error| format!("{CLUSTER_KEY}: {error}"))
}
