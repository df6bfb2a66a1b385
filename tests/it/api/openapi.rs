//! The OpenAPI document: served as it is in the repository, and its examples are true.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::support::contract::DOCUMENT;
use crate::support::eventually;
use crate::support::server::{Server, shared};

/// Who does what in the story of the examples, in the order in which it happens.
const STORY: [(&str, &str); 27] = [
    ("createConversation", "alice"),
    ("sendMessage", "alice"),
    ("addParticipants", "alice"),
    ("react", "bob"),
    ("markRead", "bob"),
    ("showConversation", "alice"),
    ("listConversations", "alice"),
    ("setOwnView", "alice"),
    ("listParticipants", "alice"),
    ("showMessage", "alice"),
    ("showReceipts", "alice"),
    ("listReactions", "alice"),
    ("showEvents", "alice"),
    ("showWatermarks", "bob"),
    ("showPresence", "alice"),
    ("showHistory", "alice"),
    ("takeReactionBack", "bob"),
    ("editMessage", "alice"),
    ("deleteMessage", "alice"),
    ("changeConversation", "alice"),
    ("setParticipant", "alice"),
    ("removeParticipant", "bob"),
    ("ban", "alice"),
    ("listBans", "alice"),
    ("endBan", "alice"),
    ("deleteConversation", "alice"),
    ("openDirect", "alice"),
];

#[tokio::test]
async fn the_document_is_served_to_everyone_as_it_is_printed() {
    let server = shared();
    let nobody = server.client("nobody").with_token(None);

    for path in ["/openapi.json", "/v1/openapi.json"] {
        let answer = nobody.get(path).await;
        assert_eq!(&answer.expect(200), &*DOCUMENT);
        let head = nobody.call(Method::HEAD, path, &[], Bytes::new()).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), answer.body.len().to_string());
        let refused = nobody.post(path, &json!({})).await;
        refused.refused(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), "GET, HEAD");
        nobody
            .get(&format!("{path}?format=yaml"))
            .await
            .refused(400, "invalid");
    }

    nobody.get("/openapi.json/").await.refused(404, "not_found");
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_rookery"))
        .arg("openapi")
        .output()
        .unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&printed.stdout).unwrap(),
        *DOCUMENT
    );
}

#[tokio::test]
async fn every_example_of_the_document_is_true() {
    let server = shared();
    let mut id = String::new();

    for (operation, user) in STORY {
        if operation == "deleteConversation" {
            // Of another conversation, so that whoever tries the examples goes on with the first.
            let other = json!({"participants": ["bob"], "name": "old-crew"});
            let client = server.client(user);
            client.post("/v1/conversations", &other).await.expect(201);
        }
        let example = Example::of(operation);
        let path = example.path.replace("{id}", &id);
        let expected = example.answer.as_ref().map(normal);
        let what = format!("the example of {operation} comes true");
        let told = eventually(&what, || async {
            let answer = example.ask(&server, user, &path).await;
            let got = (!answer.is_null()).then(|| normal(&answer));
            if got != expected {
                eprintln!("{operation}: got {got:?}, the document has {expected:?}");
            }
            (got == expected).then_some(answer)
        })
        .await;
        if operation == "sendMessage" {
            told["id"].as_str().expect("an id").clone_into(&mut id);
        }
    }

    let described: usize = DOCUMENT["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|item| item.as_object().unwrap().len())
        .sum();
    assert_eq!(
        STORY.len() + ["openSession", "showDocument"].len(),
        described,
        "every operation has its place"
    );
}

/// One operation with its example.
struct Example {
    method: Method,
    /// With the examples of its parameters, but for `{id}`.
    path: String,
    body: Option<Value>,
    status: u16,
    answer: Option<Value>,
}

impl Example {
    fn of(id: &str) -> Self {
        for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if operation["operationId"] == id {
                    return Self::read(path, method, operation);
                }
            }
        }
        panic!("no operation {id}");
    }

    fn read(path: &str, method: &str, operation: &Value) -> Self {
        let mut path = path.to_owned();
        for parameter in operation["parameters"].as_array().unwrap() {
            if let (Some(name), Some(example)) =
                (parameter["name"].as_str(), parameter["example"].as_str())
                && name != "id"
            {
                path = path.replace(&format!("{{{name}}}"), example);
            }
        }

        let responses = operation["responses"].as_object().unwrap();
        // What is made is answered 201; the same request again 200.
        let (status, response) = responses
            .iter()
            .rfind(|(status, _)| status.starts_with('2'))
            .unwrap();
        let json = |content: &Value| {
            content["content"]["application/json"]
                .get("example")
                .cloned()
        };

        Self {
            method: method.to_uppercase().parse().unwrap(),
            path,
            body: json(&operation["requestBody"]),
            status: status.parse().unwrap(),
            answer: json(response),
        }
    }

    async fn ask(&self, server: &Server, user: &str, path: &str) -> Value {
        let headers: &[(&str, &str)] = if self.body.is_some() {
            &[("content-type", "application/json")]
        } else {
            &[]
        };
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let answer = server
            .client(user)
            .call(self.method.clone(), path, headers, body.into())
            .await;
        answer.expect(self.status)
    }
}

/// The same without what is new at each run: ids and times.
fn normal(value: &Value) -> Value {
    const THE_YEAR_2000_MS: u64 = 946_684_800_000;
    match value {
        Value::String(text) if text.len() == 36 && text.matches('-').count() == 4 => "<id>".into(),
        Value::Number(number) if number.as_u64() > Some(THE_YEAR_2000_MS) => "<time>".into(),
        Value::Array(items) => items.iter().map(normal).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), normal(member)))
            .collect(),
        _ => value.clone(),
    }
}
