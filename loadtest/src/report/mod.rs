//! The report of a run: one document, written as JSON, shown as a table and as a page with plots.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod actions;
#[cfg(test)]
pub(crate) mod example;
pub(crate) mod figures;
pub(crate) mod html;
mod idle;
pub(crate) mod latency;
pub(crate) mod plots;
pub(crate) mod ratios;
pub(crate) mod table;
pub(crate) mod verdict;
pub(crate) mod wording;

pub(crate) use figures::{Audit, Close, Idle, Latency, Load, Ramp, Second, Slo, Step};

/// Version of the document; it grows by one when a field changes its meaning or goes.
pub(crate) const VERSION: u32 = 1;

/// A run of a load test of Rookery.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// Version of this document. It grows by one when a field changes its meaning or goes; new
    /// fields may come without.
    pub(crate) version: u32,
    /// The program and its version.
    pub(crate) program: String,
    /// `steady`, `ramp` or `idle`.
    pub(crate) mode: String,
    /// When the run began, UTC.
    pub(crate) started: String,
    /// The command line.
    pub(crate) command: String,
    /// Whether the server did what it promises.
    pub(crate) verdict: Verdict,
    /// What was loaded.
    pub(crate) target: TargetReport,
    /// What was asked of it.
    pub(crate) settings: Settings,
    /// Figures of a steady run.
    pub(crate) steady: Option<Load>,
    /// Figures of a ramp.
    pub(crate) ramp: Option<Ramp>,
    /// Figures of idle sessions.
    pub(crate) idle: Option<Idle>,
    /// Whether everything arrived, once and in order.
    pub(crate) audit: Audit,
    /// Every second of the run.
    pub(crate) series: Vec<Second>,
    /// The same run against a server of another kind, if one was asked for.
    pub(crate) peer: Option<Peer>,
}

/// The same run against a server of another kind.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    /// What was loaded; its kind is the name of the peer.
    pub(crate) target: TargetReport,
    /// Whether everything arrived once. It has no seqs, so order is not judged.
    pub(crate) verdict: Verdict,
    /// Its figures.
    pub(crate) steady: Load,
    /// Whether everything arrived.
    pub(crate) audit: Audit,
}

/// Whether the server did what it promises.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verdict {
    /// True when nothing was lost, doubled or out of order.
    pub(crate) passed: bool,
    /// What broke a promise, one sentence each.
    pub(crate) faults: Vec<String>,
    /// What makes the figures doubtful, one sentence each.
    pub(crate) warnings: Vec<String>,
}

/// What was loaded.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetReport {
    /// `dev`, `cluster`, `url`, or the name of a peer.
    pub(crate) kind: String,
    /// Where clients connected.
    pub(crate) clients: Vec<String>,
    /// Processes whose `/metrics` were read.
    pub(crate) processes: Vec<String>,
}

/// What was asked of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Users.
    pub(crate) users: u64,
    /// Users with a socket.
    pub(crate) online: u64,
    /// Sizes of conversations, in members.
    pub(crate) members: Vec<u64>,
    /// Conversations of each size.
    pub(crate) conversations: u64,
    /// Bytes of each text.
    pub(crate) payload_bytes: u64,
    /// `poisson` or `fixed`.
    pub(crate) spacing: String,
    /// Sends per second; none for ramps and idle sessions.
    pub(crate) rate: Option<f64>,
    /// Length of the measured span (of each step of a ramp) in seconds.
    pub(crate) duration_s: f64,
    /// Seconds before it, which are not measured.
    pub(crate) warm_up_s: f64,
    /// Most sends in flight.
    pub(crate) in_flight_max: u64,
    /// A request without an answer after so many seconds failed.
    pub(crate) timeout_s: f64,
    /// Whether each send had an `Idempotency-Key`.
    pub(crate) idempotency_keys: bool,
    /// The seed of all chance.
    pub(crate) seed: u64,
    /// The scenario of what people do beside sending, if there is one.
    pub(crate) mix: Option<String>,
}

impl Report {
    /// Writes `report.json` and `report.html` into the folder; both paths.
    pub(crate) fn write(&self, folder: &Path) -> Result<(PathBuf, PathBuf), String> {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        let json = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        let (json_path, html_path) = (folder.join("report.json"), folder.join("report.html"));
        for (path, text) in [(&json_path, json + "\n"), (&html_path, html::render(self)?)] {
            std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok((json_path, html_path))
    }

    /// Reads a document that was written by `write`.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read(path).map_err(|error| told(&error))?;
        let report: Self = serde_json::from_slice(&text).map_err(|error| told(&error))?;
        if report.version == VERSION {
            Ok(report)
        } else {
            Err(told(&format!("version {}", report.version)))
        }
    }
}

/// The JSON Schema of the document.
pub(crate) fn schema() -> Result<String, String> {
    let schema = schemars::schema_for!(Report);
    Ok(serde_json::to_string_pretty(&schema).map_err(|error| error.to_string())? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the schema is kept for readers of the document.
    fn kept() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("report.schema.json")
    }

    #[test]
    fn the_schema_beside_the_sources_is_that_of_the_document() {
        let now = schema().unwrap();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(kept(), &now).unwrap();
        }
        let kept = std::fs::read_to_string(kept()).unwrap();
        assert_eq!(kept, now, "UPDATE_DOCS=1 cargo test -p loadtest schema");
    }

    #[test]
    fn every_field_of_the_document_is_explained() {
        let schema: serde_json::Value = serde_json::from_str(&schema().unwrap()).unwrap();
        let mut unexplained = Vec::new();
        let mut types = vec![("Report".to_owned(), &schema)];
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            types.push((name.clone(), definition));
        }
        for (name, definition) in types {
            for (field, shape) in definition["properties"].as_object().unwrap() {
                if shape.get("description").is_none() {
                    unexplained.push(format!("{name}.{field}"));
                }
            }
        }
        assert!(unexplained.is_empty(), "{unexplained:?}");
    }

    #[test]
    fn a_written_document_is_read_again_and_one_of_another_version_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = example::example();
        let (json, html) = report.write(folder.path()).unwrap();
        let again = Report::read(&json).unwrap();
        assert_eq!(table::render(&again), table::render(&report));
        assert!(
            std::fs::read_to_string(html)
                .unwrap()
                .starts_with("<!doctype html>")
        );
        report.version += 1;
        report.write(folder.path()).unwrap();
        assert!(Report::read(&json).unwrap_err().contains("version 2"));
    }
}
