//! Runs the built program and reads what it leaves.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest run of the program in a test.
const PATIENCE: Duration = Duration::from_secs(180);

/// How a run ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) printed: String,
    pub(crate) progress: String,
    folder: tempfile::TempDir,
}

impl Ran {
    /// The JSON document.
    pub(crate) fn report(&self) -> Value {
        let path = self.folder.path().join("report.json");
        let text = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{error}\n{}\n{}", self.printed, self.progress));
        serde_json::from_slice(&text).unwrap()
    }

    /// The page.
    pub(crate) fn page(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("report.html")).unwrap()
    }

    /// Where the JSON document is.
    pub(crate) fn report_path(&self) -> PathBuf {
        self.folder.path().join("report.json")
    }

    /// Everything that it said, for the message of a failed test.
    pub(crate) fn said(&self) -> String {
        format!(
            "exit code {:?}\n{}\n{}",
            self.code, self.printed, self.progress
        )
    }
}

/// `rookery` of the same build, beside the program under test.
pub(crate) fn rookery() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_loadtest")).with_file_name("rookery");
    path.exists().then_some(path)
}

/// Runs `loadtest` with these arguments and a folder for its report.
pub(crate) fn loadtest(arguments: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
    let (first, rest) = arguments.split_first().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg(first)
        .arg("--report")
        .arg(folder.path())
        .args(rest)
        .stdin(Stdio::null())
        .stdout(file("printed"))
        .stderr(file("progress"))
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{arguments:?} still runs after {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    Ran {
        code: status.code(),
        printed: read("printed"),
        progress: read("progress"),
        folder,
    }
}

/// Fails with the path of the first field that the schema does not know, or that it demands and
/// that is not there.
pub(crate) fn assert_fits_schema(report: &Value) {
    let schema = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg("schema")
        .output()
        .unwrap();
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    fits(report, &schema, &schema, "report");
}

/// As much of JSON Schema as the document's own schema uses.
fn fits(value: &Value, shape: &Value, schema: &Value, path: &str) {
    if let Some(name) = shape.get("$ref").and_then(Value::as_str) {
        let definition = schema
            .pointer(name.trim_start_matches('#'))
            .expect("a definition");
        return fits(value, definition, schema, path);
    }
    if let Some(choices) = shape.get("anyOf").and_then(Value::as_array) {
        let choice = choices
            .iter()
            .find(|choice| is_null(choice) == value.is_null())
            .expect("a choice");
        return fits(value, choice, schema, path);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed = shape["type"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![shape["type"].clone()]);
    let allows = |wanted: &str| allowed.iter().any(|one| one == wanted);
    assert!(
        allows(kind) || kind == "integer" && allows("number"),
        "{path}: {kind}, not {allowed:?}"
    );
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        fits(item, &shape["items"], schema, &format!("{path}[{index}]"));
    }
    if let Some(fields) = value.as_object() {
        for (name, field) in fields {
            let known = shape["properties"]
                .get(name)
                .unwrap_or_else(|| panic!("{path}.{name} is not in the schema"));
            fits(field, known, schema, &format!("{path}.{name}"));
        }
        for name in shape["required"].as_array().into_iter().flatten() {
            assert!(
                fields.contains_key(name.as_str().unwrap()),
                "{path} has no {name}"
            );
        }
    }
}

fn is_null(shape: &Value) -> bool {
    shape.get("type").is_some_and(|kind| kind == "null")
}
