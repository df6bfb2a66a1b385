//! How values are written: durations, sizes, names. What cannot be right is refused here, with the
//! reason.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::cluster::map::ShardMap;
use crate::ids::{ClusterId, ConversationName, NodeId};

/// Longest name of a zone.
const ZONE_BYTES_MAX: usize = 128;

/// Longest prefix of keys.
const PREFIX_BYTES_MAX: usize = 64;

/// A number of shards.
pub(super) fn shards(text: &str) -> Result<u32, String> {
    let count: u32 = text.parse().map_err(|error| format!("{error}"))?;
    ShardMap::new(count)
        .map(ShardMap::shards)
        .ok_or_else(|| "not a power of two from 1 to 65536".to_owned())
}

/// The URL of an operations port: its host and port.
pub(super) fn operations(text: &str) -> Result<String, String> {
    let place = text
        .strip_prefix("http://")
        .unwrap_or(text)
        .trim_end_matches('/');
    match place.rsplit_once(':') {
        Some((host, port))
            if !host.is_empty() && !place.contains('/') && port.parse::<u16>().is_ok() =>
        {
            Ok(place.to_owned())
        }
        _ => Err("not of the form http://HOST:PORT".to_owned()),
    }
}

/// The id of a cluster.
pub(super) fn cluster_id(text: &str) -> Result<ClusterId, String> {
    text.parse()
        .map(ClusterId)
        .map_err(|_no_uuid| "not the id of a cluster, as `rookery restore` tells it".to_owned())
}

/// `on` or `off`; YAML makes `true` and `false` of them where nobody quotes them.
pub(super) fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("neither on nor off".to_owned()),
    }
}

/// A drain window: a duration that a stop has room for.
pub(super) fn drain_window(text: &str) -> Result<Duration, String> {
    let window = duration(text)?;
    if window <= Duration::from_secs(6) {
        Ok(window)
    } else {
        Err("more than 6s: a stop takes at most 10s".to_owned())
    }
}

/// How far a worker stays behind: an owner that applies nothing for 10 s is taken for stuck, and
/// gives its shards up.
pub(super) fn apply_tick(text: &str) -> Result<Duration, String> {
    let tick = duration(text)?;
    if tick <= Duration::from_secs(8) {
        Ok(tick)
    } else {
        Err(
            "more than 8s: a shard to whose file nothing is applied for 10s is taken for stuck"
                .to_owned(),
        )
    }
}

fn number_and_unit(text: &str) -> Result<(u64, &str), String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number = number
        .parse()
        .map_err(|_no_number| "does not start with a whole number".to_owned())?;
    Ok((number, unit))
}

/// A whole number with `ms`, `s`, `m`, `h` or `d`; never zero.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text)?;
    let ms_each: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("needs a unit: ms, s, m, h or d".to_owned()),
    };
    match number.checked_mul(ms_each) {
        Some(ms @ 1..=315_360_000_000) => Ok(Duration::from_millis(ms)),
        _ => Err("must be more than nothing and at most ten years".to_owned()),
    }
}

/// How long something is kept: whole seconds.
pub(super) fn retention(text: &str) -> Result<u32, String> {
    let kept = duration(text)?;
    let seconds = u32::try_from(kept.as_secs()).ok();
    seconds
        .filter(|seconds| Duration::from_secs(u64::from(*seconds)) == kept)
        .ok_or_else(|| "must be whole seconds".to_owned())
}

/// A duration, or `0` for never.
pub(super) fn duration_or_never(text: &str) -> Result<Duration, String> {
    if text == "0" {
        Ok(Duration::ZERO)
    } else {
        duration(text)
    }
}

/// Bytes a second: a size below 4 GiB.
pub(super) fn rate(text: &str) -> Result<NonZeroU32, String> {
    let bytes =
        u32::try_from(size(text)?).map_err(|_too_much| "must be less than 4GiB".to_owned())?;
    NonZeroU32::new(bytes).ok_or_else(|| "must be more than nothing".to_owned())
}

/// The rate of a backup: an owner drops a copy that is read on too seldom.
pub(super) fn copy_rate(text: &str) -> Result<NonZeroU32, String> {
    let rate = rate(text)?;
    if rate.get() >= 64 << 10 {
        Ok(rate)
    } else {
        Err("less than 64KiB: a copy that is read so slowly is dropped".to_owned())
    }
}

/// A whole number with `KiB`, `MiB` or `GiB`, or of bytes; never zero.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text)?;
    let bytes_each: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("needs a unit: KiB, MiB, GiB or none for bytes".to_owned()),
    };
    match number.checked_mul(bytes_each) {
        Some(bytes @ 1..) => Ok(bytes),
        _ => Err("must be more than nothing and fit in 64 bits".to_owned()),
    }
}

/// The claim of a token that names the user; those that say something else of the token are
/// refused.
pub(super) fn user_claim(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a claim has a name".to_owned()),
        "exp" | "nbf" | "iat" | "iss" | "aud" | "jti" => {
            Err(format!("{text} does not name a user"))
        }
        _ => Ok(text.to_owned()),
    }
}

/// The name of a node: what a conversation may be named.
pub(super) fn node_id(text: &str) -> Result<NodeId, String> {
    let wrong = |_| {
        "a node is named by 1 to 128 bytes of A-Z a-z 0-9 . _ @ : - and not '.' or '..'".to_owned()
    };
    let named = ConversationName::parse(text).map_err(wrong)?;
    Ok(NodeId::from(named.as_str()))
}

/// The name of a zone, as clouds and labels of machines have them; empty for none.
pub(super) fn zone(text: &str) -> Result<String, String> {
    let good =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':');
    let fits = text.len() <= ZONE_BYTES_MAX && text.bytes().all(good);
    if fits {
        Ok(text.to_owned())
    } else {
        Err("not at most 128 of A-Z a-z 0-9 . _ - / :".to_owned())
    }
}

/// The first part of a hash tag of Redis: nothing that could end the tag, or be taken for the part
/// behind it.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=PREFIX_BYTES_MAX).contains(&text.len()) && text.bytes().all(good);
    if fits {
        Ok(text.to_owned())
    } else {
        Err("not 1 to 64 of A-Z a-z 0-9 . _ -".to_owned())
    }
}

/// A host with or without a port, as others reach this process.
pub(super) fn host(text: &str) -> Result<String, String> {
    let good = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':' | b'[' | b']')
    };
    let fits = (1..=261).contains(&text.len()) && text.bytes().all(good);
    if fits {
        Ok(text.to_owned())
    } else {
        Err("not a host, or host:port".to_owned())
    }
}
