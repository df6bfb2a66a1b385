//! What a node does with a shard, given the shard's row in the table and its control record. Pure.
//!
//! The control record decides who owns: the row only says who may. A node that owns is never made to give up by a row.

use crate::ids::NodeId;

/// What a node does with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Owns it: opens it, and puts itself first in the row if the row is behind.
    Owns,
    /// Follows the log with a file of its own, and takes over when the owner is gone.
    StandsBy,
    /// Has nothing to do with it.
    Nothing,
}

/// The role of `node`, given the row and the owner that the control record names, if there is one.
#[must_use]
pub fn role(node: &NodeId, row: &[NodeId], owner: Option<&NodeId>) -> Role {
    match owner {
        Some(owner) if owner == node => Role::Owns,
        None if row.first() == Some(node) => Role::Owns,
        _ if row.contains(node) => Role::StandsBy,
        _ => Role::Nothing,
    }
}

/// How many other standbys take the shard over before `node` does; `None` when it is no standby.
#[must_use]
pub fn rank(node: &NodeId, row: &[NodeId], owner: &NodeId) -> Option<u32> {
    let place = row.iter().filter(|of| *of != owner).position(|of| of == node)?;
    u32::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_record_decides_who_owns_and_the_row_who_stands_by() {
        let [a, b, c] = ["a", "b", "c"].map(NodeId::from);
        let row = [a.clone(), b.clone()];
        let table = [
            (&a, None, Role::Owns),
            (&a, Some(&a), Role::Owns),
            (&a, Some(&b), Role::StandsBy),
            (&a, Some(&c), Role::StandsBy),
            (&b, None, Role::StandsBy),
            (&b, Some(&a), Role::StandsBy),
            (&b, Some(&b), Role::Owns),
            (&c, None, Role::Nothing),
            (&c, Some(&a), Role::Nothing),
            (&c, Some(&c), Role::Owns),
        ];
        for (node, owner, expected) in table {
            assert_eq!(role(node, &row, owner), expected, "{node} with {owner:?}");
        }
    }

    #[test]
    fn standbys_are_ranked_in_the_order_of_the_row_without_the_owner() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(NodeId::from);
        let row = [a.clone(), b.clone(), c.clone()];
        assert_eq!([&a, &b, &c, &d].map(|node| rank(node, &row, &a)), [None, Some(0), Some(1), None]);
        assert_eq!([&a, &b, &c, &d].map(|node| rank(node, &row, &b)), [Some(0), None, Some(1), None]);
        assert_eq!([&a, &b, &c].map(|node| rank(node, &row, &d)), [Some(0), Some(1), Some(2)]);
    }
}
