//! What the document says of operations, and that it says all.

use std::collections::BTreeSet;
use std::path::Path;

use http::Method;
use serde_json::{Map, Value, json};

use crate::problem::{CloseCode, Code};
use crate::protocol::openapi::document::path_of;
use crate::protocol::openapi::operation::{describe, id_of, path_parameters};
use crate::protocol::openapi::pretty;
use crate::protocol::openapi::schemas::Schemas;
use crate::protocol::openapi::tests::value;
use crate::protocol::routes::{Endpoint, Operation, match_path};

/// Every operation of the document: path, method, and itself.
fn documented(document: &Value) -> Vec<(String, Method, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().expect("a path item").iter();
        let one = |(method, operation): (&String, &Value)| {
            let method = method.to_uppercase().parse().expect("a method");
            (path.clone(), method, operation.clone())
        };
        methods.map(one).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn every_route_is_documented() {
    let document = value();
    let documented = documented(&document);
    for endpoint in Endpoint::ALL {
        for method in endpoint
            .allow()
            .split(", ")
            .filter(|method| *method != "HEAD")
        {
            let found = documented
                .iter()
                .any(|(path, of, _)| *path == path_of(endpoint) && of == method);
            assert!(found, "{method} {}", path_of(endpoint));
        }
    }
}

#[test]
fn every_documented_operation_is_routed_and_its_answers_and_parameters_are_declared() {
    let document = value();
    let mut ids = BTreeSet::new();

    for (path, method, operation) in documented(&document) {
        let shown = format!("{method} {path}");
        let concrete = path.replace(['{', '}'], "");
        let matched = match_path(&concrete).unwrap_or_else(|| panic!("{shown} is not routed"));
        let routed = matched
            .endpoint
            .operation(&method)
            .unwrap_or_else(|| panic!("{shown} is not routed"));
        assert_eq!(operation["operationId"], id_of(routed), "{shown}");
        assert!(ids.insert(id_of(routed)), "{shown} has an id twice");
        let parameters = operation["parameters"].as_array().expect("parameters");
        let in_path: Vec<&str> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        assert_eq!(
            in_path,
            path_parameters(routed.place().0).collect::<Vec<_>>(),
            "{shown}"
        );
        assert_eq!(
            operation.get("requestBody").is_some(),
            routed.takes_body(),
            "{shown}"
        );
        for code in routed.refusals() {
            assert!(
                operation["responses"]
                    .get(code.status().to_string())
                    .is_some(),
                "{shown} {code:?}"
            );
        }
    }

    assert_eq!(ids.len(), Operation::ALL.len());
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let document = value();
    let mut used = BTreeSet::new();
    let mut left = vec![&document];

    while let Some(next) = left.pop() {
        match next {
            Value::Object(members) => left.extend(members.values()),
            Value::Array(items) => left.extend(items),
            _ => {}
        }
        if let Some(reference) = next.get("$ref").and_then(Value::as_str) {
            let pointer = reference
                .strip_prefix('#')
                .expect("a reference into the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
            used.insert(pointer.to_owned());
        }
    }

    for kind in ["schemas", "responses", "parameters", "headers"] {
        for name in document["components"][kind]
            .as_object()
            .expect("components")
            .keys()
        {
            assert!(
                used.contains(&format!("/components/{kind}/{name}")),
                "{kind} {name} is not used"
            );
        }
    }
}

#[test]
fn every_code_and_every_close_code_is_in_the_document_with_its_number() {
    let document = value();
    let words = document["components"]["schemas"]["Code"]["enum"]
        .as_array()
        .expect("words");
    assert_eq!(words.len(), Code::ALL.len());

    for (_, _, operation) in documented(&document) {
        for (status, response) in operation["responses"].as_object().expect("responses") {
            let Some(reference) = response.get("$ref").and_then(Value::as_str) else {
                continue;
            };
            let described = document.pointer(&reference[1..]).expect("a response");
            let problem = &described["content"]["application/problem+json"]["schema"];
            assert_eq!(*problem, json!({"$ref": "#/components/schemas/Problem"}));
            for word in described["x-codes"].as_array().expect("codes") {
                let code = Code::parse(word.as_str().expect("a word")).expect("a code");
                assert_eq!(code.status().to_string(), *status);
            }
        }
    }

    let close = &document["paths"]["/v1/ws"]["get"]["x-websocket"]["close"];
    assert_eq!(close["4420"], "slow consumer");
    assert_eq!(close.as_object().map(Map::len), Some(CloseCode::ALL.len()));
}

#[test]
fn what_is_read_and_what_is_written_have_one_schema_under_one_name() {
    let mut schemas = Schemas::default();
    for operation in Operation::ALL {
        describe(operation, &mut schemas);
    }
    let clashes = schemas.clashes();
    assert!(clashes.is_empty(), "{clashes:?}");
}

#[test]
fn limits_are_those_of_validation() {
    let document = value();
    let schemas = &document["components"]["schemas"];
    let of = |pointer: &str| {
        schemas
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("{pointer}"))
    };

    assert_eq!(of("/UserId/maxLength"), 128);
    assert_eq!(of("/SendBody/properties/text/maxLength"), 16_384);
    assert_eq!(of("/EditBody/properties/mentions/maxItems"), 50);
    assert_eq!(of("/CreateBody/properties/title/maxLength"), 256);
    assert_eq!(of("/CreateBody/properties/participants/maxItems"), 1_000);
    assert_eq!(of("/ReactionBody/properties/reaction/maximum"), 1_114_111);
    assert_eq!(of("/WatchFrame/properties/conversations/maxItems"), 20);
    assert_eq!(of("/PresencePage/properties/items/maxItems"), 250);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "only this test: whether to rewrite the document"
)]
fn the_document_of_the_contract_is_not_stale() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    if std::env::var("UPDATE_DOCS").is_ok() {
        std::fs::write(&path, pretty()).expect("docs can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == pretty(),
        "docs/openapi.json is stale: run UPDATE_DOCS=1 cargo test --lib openapi"
    );
}

/// Every schema of the document, with where it stands.
fn schemas_of(document: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut left: Vec<(String, Value)> = document["components"]["schemas"]
        .as_object()
        .expect("schemas")
        .iter()
        .map(|(name, schema)| (name.clone(), schema.clone()))
        .collect();
    while let Some((place, schema)) = left.pop() {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            left.push((format!("{place}.{name}"), property.clone()));
        }
        for keyword in ["oneOf", "anyOf", "allOf"] {
            let choices = schema[keyword].as_array().into_iter().flatten();
            left.extend(choices.map(|choice| (format!("{place} {keyword}"), choice.clone())));
        }
        for keyword in ["items", "additionalProperties"] {
            let within = schema
                .get(keyword)
                .filter(|within| **within != Value::Bool(false));
            left.extend(within.map(|within| (format!("{place} {keyword}"), within.clone())));
        }
        found.push((place, schema));
    }
    found
}

/// What generators of clients stumble over; `scripts/check-clients` runs them.
#[test]
fn schemas_keep_to_the_words_that_generators_know() {
    for (place, schema) in schemas_of(&value()) {
        let members = schema
            .as_object()
            .unwrap_or_else(|| panic!("{place} is no object: {schema}"));
        for unknown in ["const", "patternProperties", "default"] {
            assert!(!members.contains_key(unknown), "{place} has {unknown}");
        }
        let is_reference = members.contains_key("$ref");
        let beside = members
            .keys()
            .find(|member| !matches!(member.as_str(), "$ref" | "description"));
        assert!(
            !is_reference || beside.is_none(),
            "{place} has {beside:?} beside $ref"
        );
        let kinds = [&schema["type"], &schema["type"][0]];
        if kinds.contains(&&json!("integer")) {
            assert!(
                matches!(schema["format"].as_str(), Some("int32" | "int64")),
                "{place} is of no known size"
            );
        }
    }
}

#[test]
fn every_schema_and_every_property_is_described() {
    let is_named = |place: &str| !place.contains(' ');
    for (place, schema) in schemas_of(&value())
        .into_iter()
        .filter(|(place, _)| is_named(place))
    {
        let is_tag = place.ends_with("Frame.t");
        assert!(
            is_tag || schema["description"].is_string(),
            "{place} is not described"
        );
    }
}
