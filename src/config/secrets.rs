//! The environment with its `.env` file, and the secrets that come from it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;

use crate::config::Refused;

/// Variable of the shared secret of HS256 tokens.
pub const JWT_SECRET: &str = "ROOKERY_JWT_SECRET";

/// Variable of the key by which nodes trust each other's links.
pub const CLUSTER_KEY: &str = "ROOKERY_CLUSTER_KEY";

/// Variable of the URLs of Redis, which may hold a password.
pub const REDIS: &str = "ROOKERY_REDIS";

/// Every variable of ours begins with it.
pub(super) const PREFIX: &str = "ROOKERY_";

/// Something that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret; the space around it (a file's last line end) is dropped.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
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
    /// Key of the links between nodes.
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
        let [jwt, cluster_key, redis] = [JWT_SECRET, CLUSTER_KEY, REDIS].map(|name| environment.secret(name));
        Ok(Self { jwt: jwt?, cluster_key: cluster_key?, redis: redis? })
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
        let process = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let file = dot_env(Path::new(".env"))?;
        Ok(Self::new(process.chain(file)))
    }

    fn secret(&self, name: &str) -> Result<Option<Secret>, Refused> {
        let file_name = format!("{name}_FILE");
        let text = match (self.0.get(name), self.0.get(&file_name)) {
            (Some(_), Some(_)) => return Err(Refused::Line(format!("set {name} or {file_name}, not both"))),
            (None, None) => return Ok(None),
            (Some(text), None) => {
                text.to_str().ok_or_else(|| Refused::Line(format!("{name} is not valid UTF-8")))?.to_owned()
            }
            (None, Some(path)) => std::fs::read_to_string(path)
                .map_err(|error| Refused::Line(format!("{file_name}: {}: {error}", path.display())))?,
        };
        Ok(Some(Secret::new(&text)))
    }
}

/// Reads a `.env` file; none is no error. Lines are told by number only: they may hold a secret.
pub(super) fn dot_env(path: &Path) -> Result<Vec<(String, OsString)>, Refused> {
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(dotenvy::Error::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(dotenvy::Error::Io(error)) => return Err(Refused::Line(format!("{}: {error}", path.display()))),
        Err(_) => return Err(Refused::Line(format!("{} cannot be read", path.display()))),
    };
    let mut variables = Vec::new();
    for line in lines {
        let after = variables.last().map_or_else(|| "at its start".to_owned(), |(name, _)| format!("after {name}"));
        let (name, value) =
            line.map_err(|_hidden| Refused::Line(format!("{}: a line {after} is no NAME=value", path.display())))?;
        variables.push((name, OsString::from(value)));
    }
    Ok(variables)
}
