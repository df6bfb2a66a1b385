//! What the address of a request to the operations port says, read in one way for all of them.

use crate::ids::ShardId;

/// The shard of the path `/shards/{shard}/{what}`; `None` for every other path.
pub(super) fn shard_in(path: &str, what: &str) -> Option<ShardId> {
    let (shard, last) = path.strip_prefix("/shards/")?.split_once('/')?;
    (last == what)
        .then(|| shard.parse().ok().map(ShardId))
        .flatten()
}

/// The value of a parameter of a query, as it is written there: whoever asks sends nothing that
/// would have to be escaped.
pub(super) fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_found_in_its_own_path_alone() {
        assert_eq!(shard_in("/shards/12/audit", "audit"), Some(ShardId(12)));
        for other in [
            "/shards/12/backup",
            "/shards/12/audit/x",
            "/shards//audit",
            "/shards/x/audit",
            "/shards/70000/audit",
            "/shards/12",
            "/balance",
        ] {
            assert_eq!(shard_in(other, "audit"), None, "{other}");
        }
    }

    #[test]
    fn a_parameter_is_found_by_its_whole_name() {
        let query = "part=shard&after=a=b&empty=";
        assert_eq!(parameter(query, "part"), Some("shard"));
        assert_eq!(parameter(query, "after"), Some("a=b"));
        assert_eq!(parameter(query, "empty"), Some(""));
        for missing in ["par", "parts", ""] {
            assert_eq!(parameter(query, missing), None, "{missing}");
        }
    }
}
