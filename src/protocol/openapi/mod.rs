//! The client contract as an OpenAPI 3.1 document, made of the same tables and types that requests
//! are checked by: `rookery openapi` prints it, a router serves it, `docs/openapi.json` is a copy
//! that a test keeps fresh.
//!
//! What OpenAPI cannot say stands in `docs/api.md`: the order of checks, what the frames of a
//! WebSocket mean.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::problem::{CloseCode, Code};
use crate::protocol::headers::{CONSISTENCY, IDEMPOTENCY_KEY, REQUEST_ID, STALE};
use crate::protocol::openapi::schemas::Schemas;
use crate::protocol::operations::Success;
use crate::protocol::routes::{Endpoint, Operation, PREFIX};

pub(super) use plain::or_null;

mod examples;

mod plain;

mod schemas;

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
fn path_of(endpoint: Endpoint) -> String {
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

/// The name of an operation in programs made from the document.
fn id_of(operation: Operation) -> String {
    let name = format!("{operation:?}");
    let mut rest = name.chars();
    rest.next()
        .map(|first| first.to_ascii_lowercase())
        .into_iter()
        .chain(rest)
        .collect()
}

fn tag_of(operation: Operation) -> &'static str {
    match operation.place().0 {
        Endpoint::WebSocket => "sessions",
        Endpoint::Document => "document",
        Endpoint::Message | Endpoint::Receipts | Endpoint::Reaction | Endpoint::Read => "messages",
        _ => "conversations",
    }
}

fn describe(operation: Operation, schemas: &mut Schemas) -> Value {
    let facts = operation.facts();
    let mut described = json!({
        "operationId": id_of(operation),
        "summary": facts.summary,
        "description": facts.about,
        "tags": [tag_of(operation)],
        "parameters": parameters(operation, schemas),
        "responses": responses(operation, schemas),
    });
    if let Some(shape) = facts.body {
        let content =
            json!({"schema": schemas.of_body(shape), "example": examples::body(operation)});
        put(
            &mut described,
            "requestBody",
            json!({"required": true, "content": {"application/json": content}}),
        );
    }
    match operation {
        Operation::OpenSession => put(&mut described, "x-websocket", websocket(schemas)),
        Operation::ShowDocument => put(&mut described, "security", json!([])),
        _ => {}
    }
    described
}

/// Adds a member to an object.
fn put(object: &mut Value, member: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(member.to_owned(), value);
    }
}

/// What the WebSocket is beyond what OpenAPI can say.
fn websocket(schemas: &mut Schemas) -> Value {
    let close = |code: CloseCode| (code.parts().0.to_string(), Value::from(code.parts().1));
    json!({
        "subprotocols": ["rookery.v1", "rookery.bearer.<token>"],
        "client": schemas.of_client_frames(),
        "server": schemas.of_server_frames(),
        "close": CloseCode::ALL.map(close).into_iter().collect::<Map<_, _>>(),
        "description": "Text frames, one JSON object each. See WebSocket in docs/api.md.",
    })
}

fn parameters(operation: Operation, schemas: &mut Schemas) -> Vec<Value> {
    let (endpoint, _) = operation.place();
    let in_path = path_parameters(endpoint).map(|name| {
        let schema = schemas.of_path(name);
        let about = match name {
            "user" => "The participant.",
            "id" => "The message.",
            _ => "The conversation.",
        };
        let example = examples::path(name);
        json!({"name": name, "in": "path", "required": true, "description": about, "schema": schema, "example": example})
    });
    let mut all: Vec<Value> = in_path.collect();
    for parameter in operation.facts().query {
        let schema = schemas.of_query(parameter.kind);
        all.push(json!({"name": parameter.name, "in": "query", "description": parameter.about, "schema": schema}));
    }
    let mut headers = vec![REQUEST_ID];
    if operation.writes() {
        headers.push(IDEMPOTENCY_KEY);
    }
    if operation
        .facts()
        .successes
        .iter()
        .any(|success| success.may_be_stale)
    {
        headers.push(CONSISTENCY);
    }
    all.extend(
        headers
            .into_iter()
            .map(|name| json!({"$ref": format!("#/components/parameters/{}", shown(name))})),
    );
    all
}

/// The parameters in an endpoint's path.
fn path_parameters(endpoint: Endpoint) -> impl Iterator<Item = &'static str> {
    endpoint
        .template()
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn responses(operation: Operation, schemas: &mut Schemas) -> Map<String, Value> {
    let mut responses = Map::new();
    for success in operation.facts().successes {
        responses.insert(
            success.status.to_string(),
            answer(operation, success, schemas),
        );
    }
    for group in by_status(operation) {
        if let Some(first) = group.first() {
            let reference = format!("#/components/responses/{}", name_of(&group));
            responses.insert(first.status().to_string(), json!({"$ref": reference}));
        }
    }
    responses
}

fn answer(operation: Operation, success: &Success, schemas: &mut Schemas) -> Value {
    let mut described = json!({"description": success.about, "headers": headers_of(&[
        (true, REQUEST_ID),
        (success.has_location, "location"),
        (success.may_be_stale, STALE),
    ])});
    if let Some(shape) = success.shape {
        let mut content = json!({"schema": schemas.of_answer(shape)});
        if let Some(example) = examples::answer(operation) {
            put(&mut content, "example", example);
        }
        put(
            &mut described,
            "content",
            json!({"application/json": content}),
        );
    }
    if let Some((member, parameter)) = success.leads {
        let leads = |to: &Operation| {
            path_parameters(to.place().0).next() == Some(parameter) && !needs_more(*to)
        };
        let link = |to: Operation| {
            let id = id_of(to);
            let link = json!({"operationId": id, "parameters": {parameter: format!("$response.body#/{member}")}});
            (id, link)
        };
        let links = Operation::ALL
            .into_iter()
            .filter(leads)
            .map(link)
            .collect::<Map<_, _>>();
        put(&mut described, "links", links.into());
    }
    described
}

/// Whether its path has more than one parameter.
fn needs_more(operation: Operation) -> bool {
    path_parameters(operation.place().0).count() > 1
}

fn headers_of(given: &[(bool, &str)]) -> Map<String, Value> {
    let given = given
        .iter()
        .filter(|(is_given, _)| *is_given)
        .map(|(_, name)| shown(name));
    given
        .map(|name| {
            (
                name.clone(),
                json!({"$ref": format!("#/components/headers/{name}")}),
            )
        })
        .collect()
}

/// A header's name as people write it.
fn shown(header: &str) -> String {
    let word = |word: &str| {
        word.get(..1).unwrap_or_default().to_ascii_uppercase() + word.get(1..).unwrap_or_default()
    };
    let name = header.split('-').map(word).collect::<Vec<_>>().join("-");
    if name == "Www-Authenticate" {
        "WWW-Authenticate".to_owned()
    } else {
        name
    }
}

/// The codes of an operation, those of one status together.
fn by_status(operation: Operation) -> Vec<Vec<Code>> {
    let mut groups: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in operation.refusals() {
        groups.entry(code.status()).or_default().push(code);
    }
    groups.into_values().collect()
}

/// The name under which answers with these codes stand in the document.
fn name_of(codes: &[Code]) -> String {
    codes
        .iter()
        .map(|code| format!("{code:?}"))
        .collect::<Vec<_>>()
        .join("Or")
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

#[cfg(test)]
mod tests;
