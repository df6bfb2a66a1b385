//! The schemas of the document: made from the types, with the limits that validation uses.

use http::header;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::ids::{ConversationName, IDEMPOTENCY_KEY_BYTES_MAX, MessageId, Seq, UserId};
use crate::problem::{Code, Problem, ProblemBody};
use crate::protocol::headers::{CONSISTENCY, IDEMPOTENCY_KEY, REQUEST_ID, STALE};
use crate::protocol::openapi::headers::headers_of;
use crate::protocol::openapi::plain::PLACE;
use crate::protocol::openapi::{examples, plain};
use crate::protocol::operations::{Kind, Shape};
use crate::protocol::{ClientFrame, ServerFrame};

/// Gathers the schemas of types as they are asked for.
#[derive(Debug)]
pub(super) struct Schemas {
    /// Schemas of what the server writes.
    answers: SchemaGenerator,
    /// Schemas of what the server reads.
    bodies: SchemaGenerator,
}

impl Default for Schemas {
    fn default() -> Self {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = PLACE.into();
        settings.meta_schema = None;
        let bodies = settings.clone().for_deserialize().into_generator();
        Self {
            answers: settings.for_serialize().into_generator(),
            bodies,
        }
    }
}

impl Schemas {
    pub(super) fn of_answer(&mut self, shape: Shape) -> Value {
        shape(&mut self.answers).to_value()
    }

    pub(super) fn of_body(&mut self, shape: Shape) -> Value {
        shape(&mut self.bodies).to_value()
    }

    pub(super) fn of_client_frames(&mut self) -> Value {
        self.of_body(SchemaGenerator::subschema_for::<ClientFrame>)
    }

    pub(super) fn of_server_frames(&mut self) -> Value {
        self.of_answer(SchemaGenerator::subschema_for::<ServerFrame<'static>>)
    }

    /// The schema of a parameter in a path.
    pub(super) fn of_path(&mut self, parameter: &str) -> Value {
        self.of_body(match parameter {
            "user" => SchemaGenerator::subschema_for::<UserId>,
            "id" => SchemaGenerator::subschema_for::<MessageId>,
            _ => SchemaGenerator::subschema_for::<ConversationName>,
        })
    }

    /// The schema of a parameter in a query.
    pub(super) fn of_query(&mut self, kind: Kind) -> Value {
        match kind {
            Kind::Limit { default, max } => {
                json!({"type": "integer", "format": "int32", "minimum": 1, "maximum": max, "default": default})
            }
            Kind::Seq => self.of_body(SchemaGenerator::subschema_for::<Seq>),
            Kind::User => self.of_body(SchemaGenerator::subschema_for::<UserId>),
            Kind::Message => json!({"type": "string", "format": "uuid"}),
            Kind::Cursor => {
                json!({"type": "string", "description": "Opaque: what a page gave as `next`."})
            }
            Kind::Word([only]) => json!({"type": "string", "enum": [only]}),
            Kind::Word(words) => json!({"type": "string", "enum": words, "default": words.first()}),
        }
    }

    /// The answer with one of these codes, all of one status.
    pub(super) fn of_refusal(&mut self, codes: &[Code]) -> Value {
        let lines: Vec<String> = codes
            .iter()
            .map(|code| format!("`{}`: {}.", code.as_str(), code.title()))
            .collect();
        let words: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
        let problem = self.of_answer(SchemaGenerator::subschema_for::<ProblemBody<'static>>);
        let examples: Map<String, Value> = codes
            .iter()
            .map(|code| {
                let body = json!(Problem::new(*code, code.title()).body(examples::REQUEST_ID));
                (code.as_str().to_owned(), json!({"value": body}))
            })
            .collect();
        let mut headers = vec![REQUEST_ID];

        if codes.iter().any(|code| code.retryable()) {
            headers.push(header::RETRY_AFTER.as_str());
        }

        if codes.contains(&Code::Unauthorized) {
            headers.push(header::WWW_AUTHENTICATE.as_str());
        }

        let headers: Vec<(bool, &str)> = headers.into_iter().map(|name| (true, name)).collect();
        json!({
            "description": lines.join("\n"),
            "headers": headers_of(&headers),
            // Beside the schema, so that programs made from the document have one type of problem
            // for all operations.
            "x-codes": words,
            "content": {"application/problem+json": {"schema": problem, "examples": examples}},
        })
    }

    /// Names under which the two kinds differ; there must be none.
    #[cfg(test)]
    pub(super) fn clashes(mut self) -> Vec<String> {
        let (bodies, answers) = (
            self.bodies.take_definitions(true),
            self.answers.take_definitions(true),
        );
        let differs =
            |(name, schema): (String, Value)| (answers.get(&name)? != &schema).then_some(name);
        bodies.into_iter().filter_map(differs).collect()
    }

    /// All that were asked for, by name.
    pub(super) fn into_components(mut self) -> Map<String, Value> {
        let mut all = self.bodies.take_definitions(true);
        all.extend(self.answers.take_definitions(true));
        all.values_mut().for_each(plain::simplify);
        plain::name_frames(&mut all);
        all
    }
}

/// The headers of requests, once for all operations.
pub(super) fn header_parameters(shown: fn(&str) -> String) -> Map<String, Value> {
    let all = [
        (
            REQUEST_ID,
            "Names the request in its answer and in the server's log, if it is 1 to 64 of `A-Za-z0-9._-`; else the server \
             makes one.",
            json!({"type": "string"}),
            examples::REQUEST_ID,
        ),
        (
            IDEMPOTENCY_KEY,
            "The key under which this write may be repeated without a second effect, for at least \
             24 hours.",
            json!({
                "type": "string",
                "minLength": 1,
                "maxLength": IDEMPOTENCY_KEY_BYTES_MAX,
                "pattern": "^[!-~]([ -~]*[!-~])?$",
            }),
            examples::KEY,
        ),
        (
            CONSISTENCY,
            "`strict`: rather 503 `stale` than an answer that may be stale. Anything else means \
             nothing.",
            json!({"type": "string"}),
            "strict",
        ),
    ];

    let parameter = |(name, about, schema, example): (&str, &str, Value, &str)| {
        let name = shown(name);
        let parameter = json!({"name": name, "in": "header", "description": about, "schema": schema, "example": example});
        (name, parameter)
    };
    all.into_iter().map(parameter).collect()
}

/// The headers of answers, once for all operations.
pub(super) fn answer_headers(shown: fn(&str) -> String) -> Map<String, Value> {
    let whole = json!({"type": "integer", "format": "int64", "minimum": 0});
    let text = json!({"type": "string"});
    let all = [
        (
            REQUEST_ID,
            true,
            "The client's if it can be repeated, else a new one; also in the server's log.",
            &text,
        ),
        (
            STALE,
            false,
            "Milliseconds by which the answer may be stale; absent: it is not.",
            &whole,
        ),
        (
            header::LOCATION.as_str(),
            true,
            "The path of what was made.",
            &text,
        ),
        (
            header::RETRY_AFTER.as_str(),
            true,
            "Seconds after which to try again.",
            &whole,
        ),
        (header::WWW_AUTHENTICATE.as_str(), true, "`Bearer`.", &text),
    ];

    let described = |(name, required, about, schema): (&str, bool, &str, &Value)| {
        (
            shown(name),
            json!({"description": about, "required": required, "schema": schema}),
        )
    };
    all.into_iter().map(described).collect()
}
