//! One operation in the document: what it takes, what it answers, and by which codes it is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::problem::{CloseCode, Code};
use crate::protocol::headers::{CONSISTENCY, IDEMPOTENCY_KEY, REQUEST_ID, STALE};
use crate::protocol::openapi::examples;
use crate::protocol::openapi::headers::{headers_of, shown};
use crate::protocol::openapi::schemas::Schemas;
use crate::protocol::operations::Success;
use crate::protocol::routes::{Endpoint, Operation};

/// The name of an operation in programs made from the document.
pub(super) fn id_of(operation: Operation) -> String {
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
        Endpoint::Message
        | Endpoint::Receipts
        | Endpoint::Reactions
        | Endpoint::Reaction
        | Endpoint::Read => "messages",
        _ => "conversations",
    }
}

pub(super) fn describe(operation: Operation, schemas: &mut Schemas) -> Value {
    let facts = operation.facts();
    let mut described = json!({
        "operationId": id_of(operation),
        "summary": facts.summary,
        "description": about(operation),
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
            json!({"required": operation.needs_body(), "content": {"application/json": content}}),
        );
    }

    match operation {
        Operation::OpenSession => put(&mut described, "x-websocket", websocket(schemas)),
        Operation::ShowDocument => put(&mut described, "security", json!([])),
        _ => {}
    }

    described
}

/// What one has to know of it, and who may do it.
fn about(operation: Operation) -> String {
    let mut about = operation.facts().about.to_owned();
    for action in operation.actions() {
        let sentence = action.sentence();
        let (first, rest) = sentence.split_at_checked(1).unwrap_or_default();
        about.push_str(&format!(" {}{rest}.", first.to_ascii_uppercase()));
    }
    about
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
        let example = examples::path(operation, name);
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
pub(super) fn path_parameters(endpoint: Endpoint) -> impl Iterator<Item = &'static str> {
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

/// The codes of an operation, those of one status together.
pub(super) fn by_status(operation: Operation) -> Vec<Vec<Code>> {
    let mut groups: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in operation.refusals() {
        groups.entry(code.status()).or_default().push(code);
    }
    groups.into_values().collect()
}

/// The name under which answers with these codes stand in the document.
pub(super) fn name_of(codes: &[Code]) -> String {
    codes
        .iter()
        .map(|code| format!("{code:?}"))
        .collect::<Vec<_>>()
        .join("Or")
}
