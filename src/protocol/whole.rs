//! Whole numbers as JSON knows them: `128077.0` is the same number as `128077`, and some clients write it so.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Number;

/// A whole number from a client.
struct Whole(u32);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = Number::deserialize(from)?;
        let text = match number.as_f64() {
            Some(fraction) if number.is_f64() && fraction.fract() == 0.0 => format!("{fraction:.0}"),
            _ => number.to_string(),
        };
        let wrong = |_| D::Error::custom(format_args!("{number} is no whole number from 0 to {}", u32::MAX));
        text.parse().map(Self).map_err(wrong)
    }
}

/// A number that must be there.
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    Whole::deserialize(from).map(|whole| whole.0)
}

/// A number or `null`; refuses a missing field, where `null` has a meaning of its own.
pub(super) fn number_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    Ok(Option::<Whole>::deserialize(from)?.map(|whole| whole.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_fraction_is_whole_however_it_is_written() {
        let read = |text: &str| serde_json::from_str::<Whole>(text).ok().map(|whole| whole.0);
        for (text, number) in [("7", 7), ("7.0", 7), ("7e0", 7), ("70e-1", 7), ("0", 0), ("4294967295.0", u32::MAX)] {
            assert_eq!(read(text), Some(number), "{text}");
        }
        for bad in ["7.5", "-1", "-1.0", "4294967296", "4294967296.0", "1e300", "\"7\"", "true", "null", "[7]", "{}"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
