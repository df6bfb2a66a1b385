//! What `docs/openapi.json` says: every answer that a test's client gets is held against it, so
//! that whatever a test provokes, the document has it.

use std::sync::LazyLock;

use http::Method;
use serde_json::Value;

use crate::support::client::Answer;

/// The document.
pub(crate) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap());

/// Fails unless the answer is one that the document has for this request: its status, its code, its
/// headers.
pub(crate) fn check(method: &Method, path: &str, answer: &Answer) {
    // A node that is asked directly, as routers do: not for clients.
    if answer.status == 421 {
        return;
    }

    let Some(item) = path_item(path.split('?').next().unwrap_or_default()) else {
        return;
    };
    let documented = if *method == Method::HEAD {
        "get".to_owned()
    } else {
        method.as_str().to_lowercase()
    };

    let shown = || format!("{method} {path}: {answer:?}");
    let Some(operation) = item.get(&documented) else {
        let is_preflight = *method == Method::OPTIONS && answer.status == 204;
        assert!(
            answer.status == 405 || is_preflight,
            "not in docs/openapi.json: {}",
            shown()
        );
        return;
    };
    let response = &operation["responses"][answer.status.to_string()];

    assert!(
        !response.is_null(),
        "docs/openapi.json does not know this status: {}",
        shown()
    );

    let response = resolved(response);
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let is_there = answer.headers.contains_key(name.as_str());
        assert!(
            is_there || resolved(header)["required"] != true,
            "without {name}: {}",
            shown()
        );
    }

    if let (Some(codes), false) = (response["x-codes"].as_array(), answer.body.is_empty()) {
        let problem = answer.json();
        assert!(
            codes.contains(&problem["code"]),
            "docs/openapi.json does not know this code: {}",
            shown()
        );
        assert_eq!(problem["status"], answer.status, "{}", shown());
    }
}

/// What the document has for a path, with or without the prefix.
fn path_item(path: &str) -> Option<&'static Value> {
    let segments = |path: &'_ str| {
        path.strip_prefix("/v1")
            .unwrap_or(path)
            .split('/')
            .map(str::to_owned)
            .collect()
    };

    let asked: Vec<String> = segments(path);
    let fits = |template: &str| {
        let template: Vec<String> = segments(template);
        let one = |(of_template, of_path): (&String, &String)| {
            of_template == of_path || of_template.starts_with('{') && !of_path.is_empty()
        };
        template.len() == asked.len() && template.iter().zip(&asked).all(one)
    };

    DOCUMENT["paths"]
        .as_object()
        .unwrap()
        .iter()
        .find(|(template, _)| fits(template))
        .map(|(_, item)| item)
}

/// Follows a reference within the document.
pub(crate) fn resolved(value: &'static Value) -> &'static Value {
    let Some(reference) = value["$ref"].as_str() else {
        return value;
    };
    DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap()
}
