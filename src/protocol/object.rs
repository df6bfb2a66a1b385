//! JSON objects that clients store beside a message and get back with their names, their order and
//! their values unchanged.
//!
//! They are kept as compact text. Neither a tree of values nor a parser's own numbers come in
//! between: those would sort the names, keep the last of two, and round numbers.

use std::sync::Arc;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::problem::Problem;
use crate::protocol::scanner::{self, OBJECT_DEPTH_MAX, first_of};

/// A JSON object in compact text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonObject(Arc<str>);

impl JsonObject {
    /// One that was stored: compact, and an object.
    #[must_use]
    pub(crate) fn stored(text: Arc<str>) -> Self {
        Self(text)
    }

    /// Its compact text.
    #[must_use]
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.0
    }

    /// The member of this name in a body or frame that is a JSON object. The outer `None`: there is
    /// none; the inner: it is null.
    ///
    /// # Errors
    /// `invalid`: it is no object, is nested too deep, has a name twice or a number that nothing
    /// here can hold; `too_large`.
    pub(crate) fn member(body: &[u8], name: &str) -> Result<Option<Option<Self>>, Problem> {
        let found = scanner::member(body, name)?;
        Ok(found.map(|object| object.map(Self)))
    }
}

/// As JSON: the object itself. In other formats, between processes: its text.
impl Serialize for JsonObject {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            Compact(&self.0).serialize(to)
        } else {
            to.serialize_str(&self.0)
        }
    }
}

/// From its text, as other processes write it.
impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(Arc::from(String::deserialize(from)?)))
    }
}

/// A value in compact text, written in its own order.
struct Compact<'a>(&'a str);

impl Serialize for Compact<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let broken = || serde::ser::Error::custom("a stored object is malformed");
        let inner = self
            .0
            .get(1..self.0.len().saturating_sub(1))
            .unwrap_or_default();
        match self.0.as_bytes().first() {
            Some(b'{') => {
                let mut map = to.serialize_map(None)?;
                let mut rest = inner;
                while let Some((name, after)) = first_of(rest, OBJECT_DEPTH_MAX) {
                    let (value, more) = after
                        .strip_prefix(':')
                        .and_then(|after| first_of(after, OBJECT_DEPTH_MAX))
                        .ok_or_else(broken)?;
                    let name: String =
                        serde_json::from_str(name).map_err(serde::ser::Error::custom)?;
                    map.serialize_entry(&name, &Compact(value))?;
                    rest = more.strip_prefix(',').unwrap_or_default();
                }
                map.end()
            }
            Some(b'[') => {
                let mut list = to.serialize_seq(None)?;
                let mut rest = inner;
                while let Some((value, more)) = first_of(rest, OBJECT_DEPTH_MAX) {
                    list.serialize_element(&Compact(value))?;
                    rest = more.strip_prefix(',').unwrap_or_default();
                }
                list.end()
            }
            Some(b'"') => {
                let text: String =
                    serde_json::from_str(self.0).map_err(serde::ser::Error::custom)?;
                to.serialize_str(&text)
            }
            Some(b't') => to.serialize_bool(true),
            Some(b'f') => to.serialize_bool(false),
            Some(b'n') => to.serialize_unit(),
            _ => number(self.0, to),
        }
    }
}

fn number<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    if text.contains(['.', 'e', 'E']) || text == "-0" {
        return to.serialize_f64(text.parse().map_err(serde::ser::Error::custom)?);
    }
    match text.parse::<i64>() {
        Ok(whole) => to.serialize_i64(whole),
        Err(_) => to.serialize_u64(text.parse().map_err(serde::ser::Error::custom)?),
    }
}

/// The schema of a field that has an object or null.
pub(super) fn object_or_null(_generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["object", "null"]})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;
    use crate::protocol::scanner::OBJECT_BYTES_MAX;

    fn of(object: &str) -> Result<JsonObject, Code> {
        let body = format!(r#"{{"text" : "x\"}}", "data":{object} , "more":[{{"data":1}}]}}"#);
        let member = JsonObject::member(body.as_bytes(), "data").map_err(|problem| problem.code)?;
        Ok(member.expect("it is there").expect("it is not null"))
    }

    #[test]
    fn an_object_comes_back_with_its_names_order_and_values() {
        let sent = r#"{ "z":1, "a" : [1.0, -0, 18446744073709551615, -9223372036854775808, 1e2, "\u00e9\"\n", true,
            false, null, {}, []], "B":{"é":"\/"} }"#;
        let object = of(sent).expect("good");
        let compact = r#"{"z":1,"a":[1.0,-0,18446744073709551615,-9223372036854775808,1e2,"é\"\n",true,false,null,{},[]],"B":{"é":"/"}}"#;
        assert_eq!(&**object.text(), compact);
        let shown = r#"{"z":1,"a":[1.0,-0.0,18446744073709551615,-9223372036854775808,100.0,"é\"\n",true,false,null,{},[]],"B":{"é":"/"}}"#;
        assert_eq!(serde_json::to_string(&object).expect("writes"), shown);
        assert_eq!(
            of("{}").map(|empty| empty.text().to_string()),
            Ok("{}".to_owned())
        );
    }

    #[test]
    fn between_processes_an_object_is_its_text() {
        let object = of(r#"{"b":1,"a":2}"#).expect("good");
        let packed = rmp_serde::to_vec_named(&object).expect("writes");
        assert_eq!(
            rmp_serde::from_slice::<JsonObject>(&packed).expect("reads"),
            object
        );
    }

    #[test]
    fn what_is_no_object_or_cannot_be_given_back_is_refused() {
        let nested = |depth: usize| {
            format!(
                "{}{{}}{}",
                r#"{"a":"#.repeat(depth - 1),
                "}".repeat(depth - 1)
            )
        };
        assert!(of(&nested(OBJECT_DEPTH_MAX)).is_ok());

        for bad in [
            "1",
            "[]",
            r#""x""#,
            "true",
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":18446744073709551616}"#,
            r#"{"a":-9223372036854775809}"#,
            r#"{"a":1e400}"#,
            r#"{"a":"\ud800"}"#,
            &nested(OBJECT_DEPTH_MAX + 1),
        ] {
            assert_eq!(of(bad), Err(Code::Invalid), "{bad}");
        }

        let sized = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
        assert!(of(&sized(OBJECT_BYTES_MAX)).is_ok());
        assert_eq!(of(&sized(OBJECT_BYTES_MAX + 1)), Err(Code::TooLarge));
    }

    #[test]
    fn a_member_that_is_absent_null_or_given_twice_is_told_apart() {
        let member = |body: &str| {
            JsonObject::member(body.as_bytes(), "data").map_err(|problem| problem.code)
        };
        assert_eq!(member(r#"{"text":"data"}"#), Ok(None));
        assert_eq!(member(r#"{"data" : null}"#), Ok(Some(None)));
        assert_eq!(member(r#"{"data":{},"data":{}}"#), Err(Code::Invalid));
        assert_eq!(member("{}"), Ok(None));
    }
}
