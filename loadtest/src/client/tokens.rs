//! Tokens of users: signed here with the shared secret, or made by a command of the operator's.
//! Each is kept until shortly before it ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::process::Command;
use tokio::sync::Semaphore;

/// How long a token that is signed here is good for.
const LIFETIME_S: u64 = 86_400;
/// A token is made anew so long before it ends.
const MARGIN_S: u64 = 60;
/// Commands that run at the same time.
const COMMANDS_MAX: usize = 8;
/// Longest run of a command.
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);
/// What stands for the user in a command.
const USER: &str = "{user}";

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// HS256 with this secret.
    Secret(String),
    /// A shell command that prints a token for `{user}`.
    Command(String),
}

/// Makes and keeps tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    source: Source,
    kept: Mutex<HashMap<String, Kept>>,
    commands: Semaphore,
}

#[derive(Debug, Clone)]
struct Kept {
    token: Arc<str>,
    ends_s: u64,
}

impl Tokens {
    /// Refuses a command that does not say where the user goes.
    pub(crate) fn new(source: Source) -> Result<Self, String> {
        if matches!(&source, Source::Command(command) if !command.contains(USER)) {
            return Err(format!(
                "--token-command must contain {USER}, where the name of the user goes"
            ));
        }
        Ok(Self {
            source,
            kept: Mutex::default(),
            commands: Semaphore::new(COMMANDS_MAX),
        })
    }

    /// A token of this user that is good for at least another minute, if its source makes such
    /// ones.
    pub(crate) async fn of(&self, user: &str) -> Result<Arc<str>, String> {
        let now = now_s()?;
        if let Some(kept) = self.kept().get(user)
            && kept.ends_s > now + MARGIN_S
        {
            return Ok(Arc::clone(&kept.token));
        }

        let made = match &self.source {
            Source::Secret(secret) => sign(secret, user, now + LIFETIME_S)?,
            Source::Command(command) => self.command(command, user).await?,
        };
        let token: Arc<str> = made.into();
        // What is no JWT tells no end; it is taken as good for the whole run.
        let ends_s = end_of(&token).unwrap_or(u64::MAX);

        self.kept().insert(
            user.to_owned(),
            Kept {
                token: Arc::clone(&token),
                ends_s,
            },
        );
        Ok(token)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last line that the command prints. Names of users here hold nothing that a shell reads.
    async fn command(&self, command: &str, user: &str) -> Result<String, String> {
        let told = |error: &dyn std::fmt::Display| format!("--token-command for {user}: {error}");
        let _permit = self
            .commands
            .acquire()
            .await
            .map_err(|error| told(&error))?;
        let running = Command::new("sh")
            .arg("-c")
            .arg(command.replace(USER, user))
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(COMMAND_PATIENCE, running)
            .await
            .map_err(|late| told(&format!("still runs after {COMMAND_PATIENCE:?}, {late}")))?
            .map_err(|error| told(&error))?;
        if !output.status.success() {
            return Err(told(&format!(
                "{}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let token = printed.lines().last().unwrap_or_default().trim();

        if token.is_empty() {
            Err(told(&"it printed nothing"))
        } else {
            Ok(token.to_owned())
        }
    }
}

/// An HS256 token.
/// A token of this user that is good for a day.
pub(crate) fn sign_for(secret: &str, user: &str, lifetime_s: u64) -> Result<String, String> {
    sign(secret, user, now_s()? + lifetime_s)
}

fn sign(secret: &str, user: &str, ends_s: u64) -> Result<String, String> {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims =
        URL_SAFE_NO_PAD.encode(serde_json::json!({"sub": user, "exp": ends_s}).to_string());
    let signed = format!("{header}.{claims}");
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|error| error.to_string())?;
    mac.update(signed.as_bytes());
    Ok(format!(
        "{signed}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    ))
}

/// `exp` of a JWT.
fn end_of(token: &str) -> Option<u64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<serde_json::Value>(&claims)
        .ok()?
        .get("exp")?
        .as_u64()
}

fn now_s() -> Result<u64, String> {
    Ok(std::time::UNIX_EPOCH
        .elapsed()
        .map_err(|error| error.to_string())?
        .as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_command(command: &str) -> Result<Tokens, String> {
        Tokens::new(Source::Command(command.to_owned()))
    }

    #[tokio::test]
    async fn a_signed_token_names_its_user_and_its_end_and_is_kept() {
        let tokens = Tokens::new(Source::Secret("s".repeat(32))).unwrap();
        let token = tokens.of("ada").await.unwrap();
        assert!(end_of(&token).unwrap() > now_s().unwrap() + LIFETIME_S - 60);
        let claims = URL_SAFE_NO_PAD
            .decode(token.split('.').nth(1).unwrap())
            .unwrap();
        assert!(
            String::from_utf8(claims)
                .unwrap()
                .contains(r#""sub":"ada""#)
        );
        assert!(Arc::ptr_eq(&token, &tokens.of("ada").await.unwrap()));
    }

    #[tokio::test]
    async fn a_command_gets_the_user_and_its_last_line_is_the_token() {
        let tokens = from_command("echo a warning; echo token-of-{user}").unwrap();
        assert_eq!(&*tokens.of("ada").await.unwrap(), "token-of-ada");
    }

    #[tokio::test]
    async fn a_token_that_soon_ends_is_made_again() {
        let ends_s = now_s().unwrap() + MARGIN_S - 1;
        let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{ends_s}}}"#));
        let tokens = from_command(&format!(
            "echo h.{claims}.$(head -c 9 /dev/urandom | base64){{user}}"
        ))
        .unwrap();
        assert_ne!(
            tokens.of("ada").await.unwrap(),
            tokens.of("ada").await.unwrap()
        );
    }

    #[tokio::test]
    async fn a_command_that_fails_or_prints_nothing_is_told_with_its_user() {
        let error = from_command("echo no luck >&2; false {user}")
            .unwrap()
            .of("ada")
            .await
            .unwrap_err();
        assert!(
            error.contains("ada") && error.contains("no luck"),
            "{error}"
        );

        let silent = from_command("true {user}")
            .unwrap()
            .of("ada")
            .await
            .unwrap_err();
        assert!(silent.contains("printed nothing"), "{silent}");
        assert!(from_command("make-token").unwrap_err().contains("{user}"));
    }
}
