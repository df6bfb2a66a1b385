//! What is stored of the table, and how it is read: keys, JSON, and the mark by which a poll
//! compares.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::Value;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::cluster::table::{Table, TableError};

/// The keys of one cluster, all in one slot.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) identity: String,
    pub(super) table: String,
    pub(super) nodes: String,
    pub(super) leader: String,
}

impl Keys {
    /// The keys of the cluster with this prefix.
    pub(super) fn of(prefix: &str) -> Self {
        let key = |name: &str| format!("{{{prefix}:table}}:{name}");
        Self {
            identity: key("identity"),
            table: key("table"),
            nodes: key("nodes"),
            leader: key("leader"),
        }
    }
}

/// What a poll compares. With a hash of the body: a master that lost its end gives a version away
/// again.
pub(super) fn mark(table: &Table, body: &[u8]) -> String {
    format!(
        "{}:{}:{}",
        table.identity.cluster,
        table.version,
        URL_SAFE_NO_PAD.encode(Sha256::digest(body))
    )
}

pub(super) fn malformed<E: fmt::Display>(what: &'static str) -> impl Fn(E) -> TableError {
    move |error| TableError::Malformed(format!("the stored {what} is malformed: {error}"))
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, TableError> {
    serde_json::to_vec(value).map_err(|error| TableError::Malformed(error.to_string()))
}

pub(super) fn parsed<T: DeserializeOwned>(
    what: &'static str,
    value: Value,
) -> Result<Option<T>, TableError> {
    let bytes: Option<Vec<u8>> = redis::from_redis_value(value).map_err(malformed(what))?;
    bytes
        .map(|bytes| serde_json::from_slice(&bytes).map_err(malformed(what)))
        .transpose()
}

pub(super) fn number(value: &Value) -> Result<i64, TableError> {
    redis::from_redis_value_ref(value).map_err(malformed("answer of a script"))
}
