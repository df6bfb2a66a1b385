//! Which shard a name belongs to: the hash that is fixed for ever, spelled out in the documentation
//! of the design.

/// The shard of a name among so many.
pub(crate) fn shard_of(name: &str, shards: u64) -> u64 {
    slot_of(name.as_bytes()) * shards / 65_536
}

/// FNV-1a, then the finalizer of MurmurHash3, then the top 16 bits.
fn slot_of(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, fnv);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash ^ (hash >> 33)) >> 48
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: [(&str, u64); 5] = [
        ("a", 0x82a2),
        ("alice", 0x3507),
        ("bob", 0xf649),
        ("general", 0x1cf2),
        ("team.rookery@example:42-x", 0x98a2),
    ];

    #[test]
    fn names_hash_as_they_do_in_rookery() {
        GOLDEN
            .iter()
            .for_each(|(name, slot)| assert_eq!(slot_of(name.as_bytes()), *slot, "{name}"));
        assert!((0..1_000).all(|number| shard_of(&format!("c{number}"), 16) < 16));
    }
}
