//! What a node does with a shard, given the shard's row in the table and its control record. Pure.
//!
//! The control record decides who owns: the row only says who may. A node that owns is never made
//! to give up by a row.

use crate::ids::NodeId;

/// What a node does with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Owns it: opens it, and puts itself first in the row if the row is behind.
    Owns,
    /// Follows the log with a file of its own, and takes over when the owner is gone.
    StandsBy,
    /// Has nothing to do with it.
    Nothing,
}

/// The role of `node`, given the row and the owner that the control record names, if there is one.
#[must_use]
pub(crate) fn role(node: &NodeId, row: &[NodeId], owner: Option<&NodeId>) -> Role {
    match owner {
        Some(owner) if owner == node => Role::Owns,
        None if row.first() == Some(node) => Role::Owns,
        _ if row.contains(node) => Role::StandsBy,
        _ => Role::Nothing,
    }
}

/// How many other standbys take the shard over before `node` does, which are all others if it is
/// draining and they are not; `None` when it is no standby.
#[must_use]
pub(crate) fn rank(
    node: &NodeId,
    row: &[NodeId],
    owner: &NodeId,
    is_draining: impl Fn(&NodeId) -> bool,
) -> Option<u32> {
    let standbys = || row.iter().filter(|of| *of != owner);
    let (drains, of_its_kind) = (is_draining(node), |of: &&NodeId| {
        is_draining(of) == is_draining(node)
    });
    let before = if drains {
        standbys().filter(|of| !is_draining(of)).count()
    } else {
        0
    };
    let place = standbys().filter(of_its_kind).position(|of| of == node)?;
    u32::try_from(before + place).ok()
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
        let of = |node, owner| rank(node, &row, owner, |_| false);
        assert_eq!(
            [&a, &b, &c, &d].map(|node| of(node, &a)),
            [None, Some(0), Some(1), None]
        );
        assert_eq!(
            [&a, &b, &c, &d].map(|node| of(node, &b)),
            [Some(0), None, Some(1), None]
        );
        assert_eq!(
            [&a, &b, &c].map(|node| of(node, &d)),
            [Some(0), Some(1), Some(2)]
        );
    }

    #[test]
    fn a_draining_standby_takes_over_after_all_others() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(NodeId::from);
        let row = [a.clone(), b.clone(), c.clone(), d.clone()];
        let of = |drains: &[&NodeId]| {
            [&b, &c, &d].map(|node| {
                rank(node, &row, &a, |of| {
                    drains.iter().any(|drains| **drains == *of)
                })
            })
        };

        assert_eq!(of(&[&b]), [Some(2), Some(0), Some(1)]);
        assert_eq!(of(&[&b, &c]), [Some(1), Some(2), Some(0)]);
        assert_eq!(
            of(&[&b, &c, &d]),
            [Some(0), Some(1), Some(2)],
            "somebody has to"
        );
        assert_eq!(rank(&b, &row[..2], &a, |_| true), Some(0));
    }
}
