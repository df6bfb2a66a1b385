//! What every test needs: a server, clients, sockets, deadlines, names.

pub(crate) mod backup;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod contract;
pub(crate) mod damage;
pub(crate) mod direct;
pub(crate) mod disk;
pub(crate) mod embedded;
pub(crate) mod erasing;
mod heard;
pub(crate) mod opening;
pub(crate) mod server;
pub(crate) mod socket;
pub(crate) mod talk;
pub(crate) mod within;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::client::Client;
use crate::support::server::Server;

/// How long a test waits for a condition before it fails. Generous: it bounds a failure, it
/// measures nothing.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Flags that each server under test begins with; a test that has its own value gives it after, and
/// the last counts. Tests send as fast as the machine lets them, often as one user: what such a
/// user may ask is for the tests of limits alone.
pub(crate) const UNTHROTTLED: [&str; 4] = [
    "--requests-per-second",
    "1000000",
    "--request-burst",
    "1000000",
];

/// The secret with which the server under test verifies tokens.
pub(crate) const SECRET: &str = "integration-tests-only-0123456789-0123456789-abc";

/// Asks again and again until there is something, or fails after [`DEADLINE`].
pub(crate) async fn eventually<T, F>(what: &str, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    eventually_within(DEADLINE, what, ask).await
}

/// The same for what takes longer.
pub(crate) async fn eventually_within<T, F>(
    deadline: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Option<T>>,
{
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A name that no other test uses.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Unix seconds.
pub(crate) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A good token of this user for the next hour.
pub(crate) fn token(user: &str) -> String {
    token_until(user, now_s() + 3_600)
}

/// A well-signed token with this `exp`.
pub(crate) fn token_until(user: &str, exp: u64) -> String {
    signed(
        &json!({"alg": "HS256", "typ": "JWT"}),
        &json!({"sub": user, "exp": exp}),
        SECRET,
    )
}

/// A token with any header and claims, signed with HMAC-SHA256. Made here and not by the server's
/// own code, so that both sides cannot be wrong in the same way.
pub(crate) fn signed(header: &Value, claims: &Value, secret: &str) -> String {
    let body = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!(
        "{body}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

/// Percent-encodes everything but letters and digits, as a careful client does.
pub(crate) fn percent(name: &str) -> String {
    name.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").unwrap();
        }
        out
    })
}

/// Reads fields of a JSON object and fails with the whole object when one is missing.
pub(crate) trait Fields {
    /// A string.
    fn text(&self, name: &str) -> &str;
    /// A number that is not negative.
    fn number(&self, name: &str) -> u64;
    /// An array.
    fn list(&self, name: &str) -> &Vec<Value>;
    /// `seq` of every item of `items`.
    fn seqs(&self) -> Vec<u64>;
}

impl Fields for Value {
    fn text(&self, name: &str) -> &str {
        self[name]
            .as_str()
            .unwrap_or_else(|| panic!("no text `{name}` in {self}"))
    }

    fn number(&self, name: &str) -> u64 {
        self[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no number `{name}` in {self}"))
    }

    fn list(&self, name: &str) -> &Vec<Value> {
        self[name]
            .as_array()
            .unwrap_or_else(|| panic!("no list `{name}` in {self}"))
    }

    fn seqs(&self) -> Vec<u64> {
        self.list("items")
            .iter()
            .map(|item| item.number("seq"))
            .collect()
    }
}

/// A conversation with an admin and members, all of it under names of its own.
pub(crate) struct Group {
    /// Its name.
    pub(crate) name: String,
    /// Who created it.
    pub(crate) admin: Client,
    /// The others.
    pub(crate) members: Vec<Client>,
}

impl Group {
    /// Creates a conversation of an admin and `members` others.
    pub(crate) async fn create(server: &Server, members: usize) -> Self {
        let admin = server.client(&unique("admin"));
        let members: Vec<Client> = (0..members)
            .map(|_| server.client(&unique("member")))
            .collect();
        let names: Vec<&str> = if members.is_empty() {
            vec![admin.user()]
        } else {
            members.iter().map(Client::user).collect()
        };
        let name = admin.create(&names).await.text("name").to_owned();
        Self {
            name,
            admin,
            members,
        }
    }

    /// The path of its conversation, with `rest` behind it.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v1/conversations/{}{rest}", self.name)
    }
}

/// The resident memory of all processes of a server, in KiB.
pub(crate) fn resident_kib(server: &Server) -> u64 {
    let of = |pid: u32| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    server.pids().into_iter().map(of).sum()
}
