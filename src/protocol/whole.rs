//! Whole numbers as clients write them: `128077.0` and `128077e0` are the same number as `128077`.
//! The one reader of numbers for bodies, frames and queries.

use std::collections::BTreeMap;
use std::fmt::Display;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Number;

use crate::protocol::limits::PINNED_MAX;

/// A whole number from a client.
struct Whole<T>(T);

impl<'de, T: TryFrom<u64> + Bounded> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = Number::deserialize(from)?;
        let whole = whole_of(&number).and_then(|whole| T::try_from(whole).ok());
        let wrong = || {
            D::Error::custom(format_args!(
                "{number} is no whole number from 0 to {}",
                T::LARGEST
            ))
        };
        whole.map(Self).ok_or_else(wrong)
    }
}

/// A type of number that can tell its largest value.
trait Bounded {
    const LARGEST: Self::Shown;
    type Shown: Display;
}

impl Bounded for u32 {
    type Shown = Self;
    const LARGEST: Self = Self::MAX;
}

impl Bounded for u64 {
    type Shown = Self;
    const LARGEST: Self = Self::MAX;
}

/// The number, if it has no fraction and no sign and fits.
fn whole_of(number: &Number) -> Option<u64> {
    if let Some(whole) = number.as_u64() {
        return Some(whole);
    }
    let fraction = number
        .as_f64()
        .filter(|fraction| fraction.fract() == 0.0 && !fraction.is_sign_negative())?;
    format!("{fraction:.0}").parse().ok()
}

/// The number in the text of a query, however large: more digits than 64 bits hold are the largest
/// number.
///
/// `None` when it is no whole number.
pub(crate) fn in_query(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().unwrap_or(u64::MAX));
    }
    // JSON knows no plus sign before a number; its parser would skip the space around one.
    let is_bare = text.starts_with(|first: char| first.is_ascii_digit())
        && !text.ends_with(char::is_whitespace);
    let number = is_bare.then(|| serde_json::from_str(text).ok());
    whole_of(&number??)
}

/// A number that must be there.
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    Whole::deserialize(from).map(|whole| whole.0)
}

/// A number or `null`; refuses a missing field, where `null` has a meaning of its own.
pub(super) fn number_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    Ok(Option::<Whole<u32>>::deserialize(from)?.map(|whole| whole.0))
}

/// The largest time that clients give: the largest number that every JSON library holds.
const MOMENT_MAX: u64 = (1 << 53) - 1;

/// A time in unix milliseconds, or `null`, of a field that may be absent.
pub(super) fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u64>>, D::Error> {
    let moment = Option::<Whole<u64>>::deserialize(from)?.map(|whole| whole.0);
    if moment.is_some_and(|moment| moment > MOMENT_MAX) {
        let detail = format_args!("a time is null or a whole number from 0 to {MOMENT_MAX}");
        return Err(D::Error::custom(detail));
    }
    Ok(Some(moment))
}

pub(super) fn moment_schema(_generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["integer", "null"], "format": "int64", "minimum": 0, "maximum": MOMENT_MAX,
    })
}

/// A seq of a field that may be absent, but not null.
pub(super) fn seq<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Whole::deserialize(from).map(|whole| Some(whole.0))
}

/// A place in an order, or `null`, of a field that may be absent.
pub(super) fn place<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u32>>, D::Error> {
    let place = Option::<Whole<u32>>::deserialize(from)?.map(|whole| whole.0);
    if place.is_some_and(|place| place > PINNED_MAX) {
        let detail = format_args!("a place is null or a whole number from 0 to {PINNED_MAX}");
        return Err(D::Error::custom(detail));
    }
    Ok(Some(place))
}

pub(super) fn place_schema(_generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["integer", "null"], "format": "int32", "minimum": 0, "maximum": PINNED_MAX,
    })
}

/// Numbers by name.
pub(super) fn numbers<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, u64>, D::Error> {
    let numbers = BTreeMap::<String, Whole<u64>>::deserialize(from)?;
    Ok(numbers
        .into_iter()
        .map(|(name, whole)| (name, whole.0))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_fraction_is_whole_however_it_is_written() {
        let read = |text: &str| {
            serde_json::from_str::<Whole<u32>>(text)
                .ok()
                .map(|whole| whole.0)
        };

        for (text, number) in [
            ("7", 7),
            ("7.0", 7),
            ("7e0", 7),
            ("70e-1", 7),
            ("0", 0),
            ("4294967295.0", u32::MAX),
        ] {
            assert_eq!(read(text), Some(number), "{text}");
        }

        for bad in [
            "7.5",
            "-1",
            "-1.0",
            "4294967296",
            "4294967296.0",
            "1e300",
            "\"7\"",
            "true",
            "null",
            "[7]",
            "{}",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_number_in_a_query_is_written_as_freely_as_one_in_json() {
        for (text, number) in [
            ("7", 7),
            ("7.0", 7),
            ("7e0", 7),
            ("0", 0),
            ("007", 7),
            ("99999999999999999999", u64::MAX),
        ] {
            assert_eq!(in_query(text), Some(number), "{text}");
        }
        for bad in ["", "7.5", "-1", "+1", " 1", "1 ", "x", "1e", "0x1", "NaN"] {
            assert_eq!(in_query(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_number_of_a_map_is_read_alike() {
        let read = |text: &str| numbers(&mut serde_json::Deserializer::from_str(text)).ok();
        assert_eq!(
            read(r#"{"a":3.0,"b":4}"#),
            Some(BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 4)]))
        );
        assert_eq!(read(r#"{"a":3.5}"#), None);
    }
}
