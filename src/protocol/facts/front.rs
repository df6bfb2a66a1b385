//! What a router answers by itself, or takes over: the WebSocket, and the document of the contract.

use schemars::{Schema, SchemaGenerator};

use crate::protocol::facts::form::{Facts, Kind, Parameter, Success};

pub(in crate::protocol) const OPEN_SESSION: Facts = Facts {
    summary: "Open a WebSocket",
    about: "Everything of the caller's conversations arrives here, and can be sent from here: `x-websocket` of this \
            operation has the frames and the close codes, docs/api.md says what they mean. A browser, which cannot set \
            headers, offers the subprotocols `rookery.v1, rookery.bearer.<token>`; a bad token is then told by close \
            4401. A token in the query is refused.",
    query: &[Parameter {
        name: "resume",
        kind: Kind::Word(&["wait"]),
        about: "Nothing is sent until the client's `resume` frame came, 10 s at most.",
    }],
    body: None,
    successes: &[Success::new(101, "From here on it is a WebSocket.", None)],
    refusals: &[],
};

pub(in crate::protocol) const SHOW_DOCUMENT: Facts = Facts {
    summary: "Show this document",
    about: "Needs no token.",
    query: &[],
    body: None,
    successes: &[Success::new(200, "OpenAPI 3.1.", Some(any_object))],
    refusals: &[],
};

fn any_object(_generator: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "object"})
}
