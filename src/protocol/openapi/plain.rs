//! The same schemas in the words that generators of clients understand. JSON Schema allows more
//! than they do: what they do not know becomes a type without fields, a number that is too small,
//! or an error.

use serde_json::{Map, Value, json};

use crate::protocol::frames::COMMITTED_FRAME;

/// Where schemas stand in the document.
pub(super) const PLACE: &str = "/components/schemas";

/// The frames of `/events`, by their `t`.
const COMMITTED: [&str; 3] = ["gap", "message", "event"];

/// The frames that clients and servers send, each with fields of its own, by their `t`.
const BOTH: [&str; 1] = ["typing"];

/// Rewrites a schema and all within it; what it allows stays the same.
pub(super) fn simplify(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else {
        return;
    };
    words_to_enum(members);
    maps_to_additional_properties(members);
    if let Some(only) = members.remove("const") {
        members.insert("enum".to_owned(), json!([only]));
    }
    // OpenAPI knows these two; of a number without one of them, or with another, an `int` of 32
    // bits is made.
    let format = match members.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "uint32") => Some("int32"),
        Some("uint" | "uint64") => Some("int64"),
        _ => None,
    };
    if let Some(format) = format {
        members.insert("format".to_owned(), format.into());
    }
    // A field with a default is taken for one that is always there, also by those who write it.
    members.remove("default");

    for (keyword, within) in members {
        match (keyword.as_str(), within) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(simplify),
            ("items" | "additionalProperties", one) => simplify(one),
            ("oneOf" | "anyOf" | "allOf", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(simplify)
            }
            _ => {}
        }
    }
}

/// A choice of described words becomes an `enum`, and their descriptions a list in its own.
fn words_to_enum(members: &mut Map<String, Value>) {
    let choices = members
        .get("oneOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let words: Option<Vec<Value>> = choices
        .clone()
        .map(|choice| choice.get("const").cloned())
        .collect();
    let Some(words) = words.filter(|words| !words.is_empty()) else {
        return;
    };

    let line = |choice: &Value| {
        Some(format!(
            "- `{}`: {}",
            choice["const"].as_str()?,
            choice["description"].as_str()?
        ))
    };
    let lines: Vec<String> = choices.filter_map(line).collect();
    let about = members
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let about = format!("{about}\n\n{}", lines.join("\n"));

    members.remove("oneOf");
    members.insert("description".to_owned(), about.into());
    members.insert("type".to_owned(), "string".into());
    members.insert("enum".to_owned(), words.into());
}

/// A map whose keys have a pattern says so beside its values.
fn maps_to_additional_properties(members: &mut Map<String, Value>) {
    let Some(Value::Object(patterns)) = members.remove("patternProperties") else {
        return;
    };
    if let Some((pattern, values)) = patterns.into_iter().next() {
        members.insert("additionalProperties".to_owned(), values);
        members.insert("propertyNames".to_owned(), json!({"pattern": pattern}));
    }
}

/// Gives each frame a schema with a name, so that it becomes a type of its own, and leaves the
/// choice between them to `t`.
pub(super) fn name_frames(all: &mut Map<String, Value>) {
    for union in ["ClientFrame", "ServerFrame"] {
        let frames = all
            .get_mut(union)
            .and_then(|union| union.get_mut("oneOf"))
            .map(Value::take);
        let Some(Value::Array(frames)) = frames else {
            continue;
        };
        let mut words = Vec::new();
        for mut frame in frames {
            merge_kinds(&mut frame);
            let word = frame
                .pointer("/properties/t/enum/0")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            all.insert(name_of(union, &word), frame);
            words.push(word);
        }
        let about = all
            .get(union)
            .and_then(|union| union.get("description"))
            .cloned()
            .unwrap_or_default();
        all.insert(union.to_owned(), choice_of(&about, union, &words));
    }

    let about = "A durable change of a conversation, or that those before are gone.".into();
    all.insert(
        COMMITTED_FRAME.to_owned(),
        choice_of(&about, COMMITTED_FRAME, &COMMITTED.map(str::to_owned)),
    );
}

/// The name of a frame's schema. A word that both ends say has two.
fn name_of(union: &str, word: &str) -> String {
    let (first, rest) = word.split_at_checked(1).unwrap_or_default();
    let by = if union == "ClientFrame" && BOTH.contains(&word) {
        "Client"
    } else {
        ""
    };
    format!("{by}{}{rest}Frame", first.to_ascii_uppercase())
}

/// The choice between frames with these values of `t`.
fn choice_of(about: &Value, union: &str, words: &[String]) -> Value {
    let place = |word: &String| format!("#{PLACE}/{}", name_of(union, word));
    let mapping: Map<String, Value> = words
        .iter()
        .map(|word| (word.clone(), place(word).into()))
        .collect();
    let choices: Vec<Value> = words
        .iter()
        .map(|word| json!({"$ref": place(word)}))
        .collect();
    json!({"description": about, "oneOf": choices, "discriminator": {"propertyName": "t", "mapping": mapping}})
}

/// Makes one object of a frame whose `kind` decides about its other fields: a choice within a
/// choice is more than most generators can do. What not every kind has is optional, and its
/// description says where it belongs.
fn merge_kinds(frame: &mut Value) {
    let Some(Value::Array(kinds)) = frame.get_mut("oneOf").map(Value::take) else {
        return;
    };
    let mut words = Vec::new();
    let mut lines = Vec::new();
    let mut fields: Vec<(String, Value, Vec<String>)> = Vec::new();
    for kind in &kinds {
        let word = kind
            .pointer("/properties/kind/enum/0")
            .and_then(Value::as_str)
            .unwrap_or_default();
        lines.push(format!(
            "- `{word}`: {}",
            kind["description"].as_str().unwrap_or_default()
        ));
        words.push(word.to_owned());
        for (name, schema) in kind["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| *name != "kind")
        {
            match fields.iter_mut().find(|(known, ..)| known == name) {
                Some((.., of)) => of.push(word.to_owned()),
                None => fields.push((name.clone(), schema.clone(), vec![word.to_owned()])),
            }
        }
    }

    let Some(members) = frame.as_object_mut() else {
        return;
    };
    members.remove("oneOf");
    let mut required = vec![Value::from("kind")];
    let mut properties = Map::new();
    let about = format!("What it tells.\n\n{}", lines.join("\n"));
    properties.insert(
        "kind".to_owned(),
        json!({"description": about, "type": "string", "enum": words}),
    );
    for (name, mut schema, of) in fields {
        if of.len() == kinds.len() {
            required.push(name.clone().into());
        } else {
            let told = schema
                .get("description")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let told = format!("With `{}`: {told}", of.join("`, `"));
            if let Some(known) = schema.as_object_mut() {
                known.insert("description".to_owned(), told.into());
            }
        }
        properties.insert(name, schema);
    }
    if let Some(known) = members.get_mut("properties").and_then(Value::as_object_mut) {
        known.extend(properties);
    }
    if let Some(known) = members.get_mut("required").and_then(Value::as_array_mut) {
        known.extend(required);
    }
}
