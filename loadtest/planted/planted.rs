//! For the tests of the checker alone: this program does without one protection, which
//! `ROOKERY_PLANTED` names, so that the checker can show that it notices. No release has this file.

use std::sync::LazyLock;

/// What this process does without.
#[expect(clippy::disallowed_methods, reason = "no setting of any release")]
static DROPPED: LazyLock<Option<String>> = LazyLock::new(|| {
    let name = std::env::var("ROOKERY_PLANTED").ok()?;
    tracing::error!(
        name,
        "this build drops a protection: for tests of the checker alone"
    );
    Some(name)
});

/// Returns whether this process does without that protection.
#[must_use]
pub fn is_dropped(protection: &str) -> bool {
    DROPPED.as_deref() == Some(protection)
}

/// Returns the script of appends, perhaps without one of its checks.
#[must_use]
pub fn append_script(text: &'static str) -> &'static str {
    let check = if is_dropped("fence") {
        "if ctl[1] ~= ARGV[1] then"
    } else if is_dropped("tail_check") {
        "if ctl[2] ~= ARGV[2] then"
    } else {
        return text;
    };
    without(text, check)
}

/// Returns the script of renewals, perhaps without its check.
#[must_use]
pub fn renew_script(text: &'static str) -> &'static str {
    if is_dropped("fence") {
        without(
            text,
            "if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then",
        )
    } else {
        text
    }
}

/// Returns the script with a check that never holds; one that is not there any more is a fault of
/// the checker.
fn without(text: &'static str, check: &str) -> &'static str {
    assert!(
        text.contains(check),
        "the script has no such check: {check}"
    );
    text.replacen(check, "if false then", 1).leak()
}
