//! Tokens that are signed with the secret of a data folder.

use crate::auth;
use crate::clock::Clock;
use crate::config::secrets::{JWT_SECRET, Secrets};
use crate::config::settings::TokenSettings;
use crate::output;
use crate::process::files;

/// The secret of clients' tokens in the data folder.
pub(super) const JWT_SECRET_FILE: &str = "jwt-secret";

/// Prints a token for a user.
///
/// # Errors
/// One clear line: there is no secret, or a bad one.
pub fn token(settings: &TokenSettings, secrets: Secrets) -> Result<(), String> {
    let file = settings.data.join(JWT_SECRET_FILE);
    let secret = match secrets.jwt {
        Some(secret) => secret,
        None => files::read_secret(&file)?.ok_or_else(|| {
            format!(
                "no secret: set {JWT_SECRET}, or start once to make {}",
                file.display()
            )
        })?,
    };

    let token = auth::issue(
        secret.expose(),
        &settings.user,
        settings.ttl,
        &Clock::system(),
    )?;
    output::print(&format!("{token}\n"));
    Ok(())
}
