//! Null: fields of bodies and frames that may be absent but not null, and schemas that may be null.

use serde::Deserializer;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Lets a schema allow null too.
pub(super) fn or_null(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else {
        return;
    };
    if let Some(reference) = members.remove("$ref") {
        members.insert(
            "anyOf".to_owned(),
            json!([{"$ref": reference}, {"type": "null"}]),
        );
    } else if let Some(only) = members.get("type").filter(|only| only.is_string()) {
        let either = json!([only, "null"]);
        members.insert("type".to_owned(), either);
    }
}

/// A field that may be absent, but not null.
pub(super) fn not_null<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}
