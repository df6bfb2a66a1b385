//! The environment with its `.env` file, and the secrets that come from it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;

use crate::config::refusal::Refused;

/// Variable of the shared secret of HS256 tokens.
pub(crate) const JWT_SECRET: &str = "ROOKERY_JWT_SECRET";

/// Variable of the key by which nodes and routers trust each other's links.
pub(crate) const CLUSTER_KEY: &str = "ROOKERY_CLUSTER_KEY";

/// Variable of the URLs of Redis, which may hold a password.
pub(crate) const REDIS: &str = "ROOKERY_REDIS";

/// Every variable of ours begins with it.
pub(super) const PREFIX: &str = "ROOKERY_";

/// What some editors put before the text of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Something that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret; the space around it (a file's last line end) is dropped, and so is the byte
    /// order mark that some editors put before it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim_start_matches(BYTE_ORDER_MARK).trim().to_owned())
    }

    /// The secret itself, for the place that uses it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The secrets that were given.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// Shared secret of HS256 tokens.
    pub jwt: Option<Secret>,
    /// Key of the links between the processes of a cluster.
    pub cluster_key: Option<Secret>,
    /// URLs of Redis.
    pub redis: Option<Secret>,
}

impl Secrets {
    /// From the environment, or from the files that it names.
    ///
    /// # Errors
    /// One clear line: a file cannot be read, or both ways are used for one secret.
    pub fn gather(environment: &Environment) -> Result<Self, Refused> {
        let [jwt, cluster_key, redis] =
            [JWT_SECRET, CLUSTER_KEY, REDIS].map(|name| environment.secret(name));
        Ok(Self {
            jwt: jwt?,
            cluster_key: cluster_key?,
            redis: redis?,
        })
    }
}

/// The variables that matter: those of the process and, below them, those of `.env`.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names only: a value may be a secret.
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// Of given variables; an empty one counts as unset. The first of two equal names wins.
    pub fn new(variables: impl IntoIterator<Item = (String, OsString)>) -> Self {
        let mut kept = BTreeMap::new();
        for (name, value) in variables {
            if name.starts_with(PREFIX) && !value.is_empty() {
                kept.entry(name).or_insert(value);
            }
        }
        Self(kept)
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str)
    }

    /// Of the process and, below it, of `.env` in the working folder.
    ///
    /// # Errors
    /// One clear line: the file cannot be read.
    pub fn of_process() -> Result<Self, Refused> {
        let process =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let file = dot_env(Path::new(".env"))?;
        Ok(Self::new(process.chain(file)))
    }

    fn secret(&self, name: &str) -> Result<Option<Secret>, Refused> {
        let file_name = format!("{name}_FILE");
        let text = match (self.0.get(name), self.0.get(&file_name)) {
            (Some(_), Some(_)) => {
                return Err(Refused::Line(format!(
                    "set {name} or {file_name}, not both"
                )));
            }
            (None, None) => return Ok(None),
            (Some(text), None) => text
                .to_str()
                .ok_or_else(|| Refused::Line(format!("{name} is not valid UTF-8")))?
                .to_owned(),
            (None, Some(path)) => std::fs::read_to_string(path).map_err(|error| {
                Refused::Line(format!("{file_name}: {}: {error}", path.display()))
            })?,
        };
        Ok(Some(Secret::new(&text)))
    }
}

/// Reads our variables of a `.env` file; none is no error. The file may be that of another program:
/// only lines that set a `ROOKERY_` variable have to be well formed, and others are used where a
/// value names them. A wrong line is told by its number, never by its text, which may be a secret.
pub(super) fn dot_env(path: &Path) -> Result<Vec<(String, OsString)>, Refused> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Refused::Line(format!("{}: {error}", path.display()))),
    };

    let mut readable = String::new();
    for (index, line) in text.trim_start_matches(BYTE_ORDER_MARK).lines().enumerate() {
        let line = line.trim_start();
        let is_ours = line
            .strip_prefix("export ")
            .unwrap_or(line)
            .trim_start()
            .starts_with(PREFIX);
        let is_readable = dotenvy::from_read_iter(line.as_bytes()).all(|variable| variable.is_ok());
        if is_ours && !is_readable {
            let number = index + 1;
            return Err(Refused::Line(format!(
                "{}: line {number} is no NAME=value",
                path.display()
            )));
        }
        if is_readable {
            readable.push_str(line);
            readable.push('\n');
        }
    }

    let variables = dotenvy::from_read_iter(readable.as_bytes()).filter_map(Result::ok);
    let ours = variables.filter(|(name, _)| name.starts_with(PREFIX));
    Ok(ours
        .map(|(name, value)| (name, OsString::from(value)))
        .collect())
}
