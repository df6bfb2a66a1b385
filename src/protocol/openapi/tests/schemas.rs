//! The schemas of the document, as generators of clients need them.

use serde_json::json;

use crate::protocol::openapi::tests::value;

#[test]
fn every_frame_is_a_schema_of_its_own_and_t_tells_which() {
    let document = value();
    let schemas = &document["components"]["schemas"];

    for (union, count) in [
        ("ClientFrame", 10),
        ("ServerFrame", 15),
        ("CommittedFrame", 3),
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

    assert_eq!(
        schemas["ClientTypingFrame"]["required"],
        json!(["t", "conversation", "on"])
    );
    assert_eq!(
        schemas["TypingFrame"]["required"],
        json!(["t", "conversation", "user", "until"])
    );

    let left = &schemas["EventFrame"];
    let kinds = "created joined left edited deleted role updated closed";
    let kinds: Vec<&str> = kinds.split(' ').collect();
    assert_eq!(left["properties"]["kind"]["enum"], json!(kinds));
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
        "/Message/properties/data",
        "/Message/properties/deleted_by",
        "/EditBody/properties/data",
        "/CreateBody/properties/title",
        "/ChangeBody/properties/title",
        "/ChangeBody/properties/data",
        "/ParticipantBody/properties/muted_until",
        "/BanBody/properties/reason",
        "/SettingsGiven/properties/edit_window_s",
        "/Conversation/properties/my_muted_until",
        "/Participant/properties/muted_until",
        "/ConversationItem/properties/settings",
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
        "/EditBody/properties/text",
        "/ChangeBody/properties/settings",
        "/ParticipantBody/properties/role",
        "/SettingsGiven/properties/post",
        "/Conversation/properties/settings",
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
