//! The headers of requests and answers, as the document names them.

use serde_json::{Map, Value, json};

pub(super) fn headers_of(given: &[(bool, &str)]) -> Map<String, Value> {
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
pub(super) fn shown(header: &str) -> String {
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
