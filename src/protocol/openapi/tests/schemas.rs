//! The schemas of the document, as generators of clients need them.

use serde_json::{Value, json};

use crate::protocol::openapi::tests::value;

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

#[test]
fn every_frame_is_a_schema_of_its_own_and_t_tells_which() {
    let document = value();
    let schemas = &document["components"]["schemas"];
    for (union, count) in [
        ("ClientFrame", 6),
        ("ServerFrame", 11),
        ("CommittedFrame", 2),
    ] {
        let choice = &schemas[union];
        assert_eq!(choice["discriminator"]["propertyName"], "t", "{union}");
        assert_eq!(
            choice["oneOf"].as_array().map(Vec::len),
            Some(count),
            "{union}"
        );
        let mapping = choice["discriminator"]["mapping"]
            .as_object()
            .expect("a mapping");
        assert_eq!(mapping.len(), count, "{union}");
        for (word, place) in mapping {
            assert!(
                choice["oneOf"]
                    .as_array()
                    .expect("choices")
                    .contains(&json!({"$ref": place})),
                "{union} {word}"
            );
            let frame = document
                .pointer(&place.as_str().expect("a place")[1..])
                .expect("a frame");
            assert_eq!(frame["properties"]["t"]["enum"], json!([word]), "{union}");
            assert!(
                frame["required"]
                    .as_array()
                    .expect("required")
                    .contains(&json!("t")),
                "{union} {word}"
            );
        }
    }
    let left = &schemas["EventFrame"];
    assert_eq!(
        left["properties"]["kind"]["enum"],
        json!(["created", "joined", "left"])
    );
    assert_eq!(
        left["required"],
        json!(["t", "conversation", "seq", "created", "kind", "by"])
    );
    assert_eq!(
        schemas["ReceiptFrame"]["required"],
        json!(["t", "conversation", "user", "kind", "ts"])
    );
}

#[test]
fn null_is_allowed_where_the_contract_says_so_and_absent_where_it_may_be() {
    let document = value();
    let schemas = &document["components"]["schemas"];
    let allows_null = |pointer: &str| {
        let schema = schemas
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{pointer}"));
        let null = json!({"type": "null"});
        schema["type"][1] == "null"
            || schema["anyOf"]
                .as_array()
                .is_some_and(|choices| choices.contains(&null))
    };
    for pointer in [
        "/Conversation/properties/title",
        "/Message/properties/reply_to",
        "/CreateBody/properties/title",
        "/ConversationItem/properties/admin",
        "/ConversationItem/properties/last_message",
        "/ConversationItem/properties/created",
    ] {
        assert!(allows_null(pointer), "{pointer}");
    }
    for pointer in [
        "/Conversation/properties/participants",
        "/EventFrame/properties/admin",
        "/Message/properties/id",
    ] {
        assert!(!allows_null(pointer), "{pointer}");
    }
    assert_eq!(schemas["CreateBody"]["required"], json!(["participants"]));
    assert_eq!(
        schemas["SendFrame"]["required"],
        json!(["t", "conversation", "text"])
    );
    assert_eq!(
        schemas["ConversationItem"]["properties"].get("participants"),
        None
    );
}
