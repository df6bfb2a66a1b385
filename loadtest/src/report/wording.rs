//! How numbers and failures are written, in the table and on the page alike.

use crate::report::figures::ErrorCount;

/// What failed, most first.
pub(crate) fn errors(errors: &[ErrorCount]) -> String {
    let mut errors: Vec<&ErrorCount> = errors.iter().collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.count));
    let one = |error: &&ErrorCount| format!("{} × {}", whole(error.count), name_of(error));
    if errors.is_empty() {
        "none".to_owned()
    } else {
        errors.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// `503 unavailable`, or `timeout`.
pub(crate) fn name_of(error: &ErrorCount) -> String {
    error.status.map_or_else(
        || error.code.clone(),
        |status| format!("{status} {}", error.code),
    )
}

/// Milliseconds with as many digits as matter.
pub(crate) fn ms(value: f64) -> String {
    if value >= 100.0 {
        count(value)
    } else {
        format!("{value:.2}")
    }
}

/// A rate: with thousands, and one digit when it is small.
pub(crate) fn count(value: f64) -> String {
    if value < 100.0 && value.fract().abs() > 0.05 {
        return format!("{value:.1}");
    }
    grouped(&format!("{value:.0}"))
}

/// A count with thousands.
pub(crate) fn whole(value: u64) -> String {
    grouped(&value.to_string())
}

fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub(super) fn mebibytes(bytes: f64) -> String {
    grouped(&format!("{:.0}", bytes / f64::from(1 << 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_thousands() {
        assert_eq!(
            (count(1_234.4), count(12.34), count(5.0), whole(1_000_000)),
            (
                "1,234".into(),
                "12.3".into(),
                "5".into(),
                "1,000,000".into()
            )
        );
        assert_eq!(
            (ms(0.123), ms(250.4)),
            ("0.12".to_owned(), "250".to_owned())
        );
    }
}
