//! The whole document, as programs and as people read it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::protocol::openapi::headers::shown;
use crate::protocol::openapi::operation::{by_status, describe, name_of};
use crate::protocol::openapi::schemas::{self, Schemas};
use crate::protocol::routes::{Endpoint, Operation, PREFIX};

const ABOUT: &str = "\
REST and WebSocket of a Rookery router. Every path is also served without its prefix `/v1`, `HEAD` wherever there is a \
`GET`. Any other path is answered 404 `not_found`, any other method 405 `method_not_allowed` with `Allow`; every error \
has the shape `Problem`; `x-codes` of a response lists its codes. An unknown field of a body and an unknown query parameter \
are 400; a client ignores fields, and frames of the WebSocket, that it does not know. The order of checks, what is guaranteed, \
what the frames mean and how to generate a client are described in docs/api.md of the source.";

/// Tags, and what is under them.
const TAGS: [(&str, &str); 4] = [
    (
        "conversations",
        "Conversations, who takes part in them, and what is said there.",
    ),
    ("messages", "Single messages, and what became of them."),
    ("sessions", "Live delivery."),
    ("document", "This document."),
];

/// The document; its members are in the order in which people read them.
#[derive(Debug, Serialize)]
struct Document {
    openapi: &'static str,
    info: Value,
    servers: Value,
    tags: Vec<Value>,
    security: Value,
    paths: BTreeMap<String, Map<String, Value>>,
    components: Value,
}

/// The document as a router serves it.
#[must_use]
pub fn json() -> Bytes {
    // Maps with string keys have no failing case.
    static JSON: LazyLock<Bytes> =
        LazyLock::new(|| serde_json::to_vec(&document()).unwrap_or_default().into());
    JSON.clone()
}

/// The document for people, with a line feed at its end.
#[must_use]
pub fn pretty() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// Where an operation is in the document.
pub(super) fn path_of(endpoint: Endpoint) -> String {
    match endpoint {
        Endpoint::Document => endpoint.template().to_owned(),
        _ => format!("{PREFIX}{}", endpoint.template()),
    }
}

fn document() -> Document {
    let mut schemas = Schemas::default();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for operation in Operation::ALL {
        let (endpoint, method) = operation.place();
        let described = describe(operation, &mut schemas);
        paths
            .entry(path_of(endpoint))
            .or_default()
            .insert(method.as_str().to_lowercase(), described);
    }

    Document {
        openapi: "3.1.0",
        info: json!({
            "title": "Rookery",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        }),
        servers: json!([{"url": "/", "description": "The router that serves this document."}]),
        tags: TAGS
            .map(|(name, about)| json!({"name": name, "description": about}))
            .to_vec(),
        security: json!([{"token": []}]),
        paths,
        components: components(schemas),
    }
}

fn components(mut schemas: Schemas) -> Value {
    let mut responses = Map::new();
    for codes in Operation::ALL.into_iter().flat_map(by_status) {
        responses
            .entry(name_of(&codes))
            .or_insert_with(|| schemas.of_refusal(&codes));
    }

    json!({
        "securitySchemes": {"token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A JWT with `sub` (the user) and `exp`, signed with the shared secret or a key of the JWKS.",
        }},
        "parameters": schemas::header_parameters(shown),
        "headers": schemas::answer_headers(shown),
        "responses": responses,
        "schemas": schemas.into_components(),
    })
}
