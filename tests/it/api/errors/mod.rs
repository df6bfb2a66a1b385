//! Refusals: which one comes first, and what each looks like.

use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::server::shared;
use crate::support::{Fields, Group, unique};

mod bodies;
mod heads;
mod order;
mod paths;

const JSON: (&str, &str) = ("content-type", "application/json");
