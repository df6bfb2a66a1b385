//! Which messages make a page: pure, so that the merge of SQLite's rows with the tail in memory is
//! provable.

use crate::ids::Seq;
use crate::protocol::MessageCore;
use crate::shard::command::Around;

/// A page, ascending, and whether matches exist on either side of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::shard) struct Picked {
    /// The page.
    pub(in crate::shard) items: Vec<MessageCore>,
    /// Older matches exist.
    pub(in crate::shard) older: bool,
    /// Newer matches exist.
    pub(in crate::shard) newer: bool,
}

/// Joins rows and tail, each ascending, into one ascending list without doubles.
#[must_use]
pub(in crate::shard) fn merge(rows: Vec<MessageCore>, tail: Vec<MessageCore>) -> Vec<MessageCore> {
    let mut all = rows;
    all.extend(tail);
    all.sort_by_key(|message| message.seq);
    all.dedup_by_key(|message| message.seq);
    all
}

/// Picks the page nearest to `around` out of `matches` (ascending), which hold at least `limit + 1`
/// matches on each side that `around` asks for and one on the other, where there are so many.
#[must_use]
pub(in crate::shard) fn pick(matches: Vec<MessageCore>, around: Around, limit: usize) -> Picked {
    let below = |seq: Seq| matches.partition_point(|message| message.seq < seq);
    let upto = |seq: Seq| matches.partition_point(|message| message.seq <= seq);
    let (from, to) = match around {
        Around::Newest => (matches.len().saturating_sub(limit), matches.len()),
        Around::Oldest => (0, limit.min(matches.len())),
        Around::Before(seq) => (below(seq).saturating_sub(limit), below(seq)),
        Around::After(seq) => (upto(seq), (upto(seq) + limit).min(matches.len())),
        Around::Around(seq) => {
            let middle = below(seq);
            let above = matches.len() - middle;
            // Half of the page lies below, unless one side has too few.
            let lower = middle.min((limit / 2).max(limit.saturating_sub(above)));
            let from = middle - lower;
            (from, (from + limit).min(matches.len()))
        }
    };
    let (older, newer) = (from > 0, to < matches.len());
    let items = matches.into_iter().skip(from).take(to - from).collect();

    Picked {
        items,
        older,
        newer,
    }
}

/// Cuts a list that was read one too long. Returns it with where the next page begins, if there is
/// one.
pub(in crate::shard) fn cut<T, C>(
    mut items: Vec<T>,
    limit: u32,
    cursor: impl Fn(&T) -> C,
) -> (Vec<T>, Option<C>) {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().map(cursor).filter(|_| more);
    (items, next)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{ConversationName, MessageId, Slot, UserId};

    fn message(seq: u64) -> MessageCore {
        MessageCore {
            id: MessageId::new(seq, Slot(1), seq),
            conversation: ConversationName::parse("c").expect("a name"),
            seq: Seq(seq),
            source: UserId::parse("u").expect("a name"),
            text: String::new(),
            reply_to: None,
            created: seq,
            edited: None,
            deleted: false,
            data: None,
            mentions: Vec::new(),
            deleted_by: None,
        }
    }

    fn around() -> impl Strategy<Value = Around> {
        prop_oneof![
            Just(Around::Newest),
            Just(Around::Oldest),
            (0_u64..60).prop_map(|seq| Around::Before(Seq(seq))),
            (0_u64..60).prop_map(|seq| Around::After(Seq(seq))),
            (0_u64..60).prop_map(|seq| Around::Around(Seq(seq))),
        ]
    }

    /// What a store gives: the rows of both sides, cut as its contract says.
    fn cut(all: &[MessageCore], around: Around, limit: usize) -> Vec<MessageCore> {
        let picked = pick(all.to_vec(), around, limit);
        let first = picked.items.first().map(|message| message.seq);
        let last = picked.items.last().map(|message| message.seq);
        let keep = |seq: Seq| {
            let below = all
                .iter()
                .filter(|m| first.is_some_and(|f| m.seq < f))
                .map(|m| m.seq)
                .max();
            let above = all
                .iter()
                .filter(|m| last.is_some_and(|l| m.seq > l))
                .map(|m| m.seq)
                .min();
            Some(seq) == below || Some(seq) == above || picked.items.iter().any(|m| m.seq == seq)
        };

        all.iter()
            .filter(|message| keep(message.seq))
            .cloned()
            .collect()
    }

    proptest! {
        #[test]
        fn walking_by_before_or_after_gives_each_message_once(
            seqs in proptest::collection::btree_set(1_u64..60, 0..40),
            limit in 1_usize..10,
        ) {
            let all: Vec<_> = seqs.iter().map(|seq| message(*seq)).collect();
            let mut back = Vec::new();
            let mut at = Around::Newest;

            loop {
                let page = pick(all.clone(), at, limit);
                back.splice(0..0, page.items.iter().map(|m| m.seq.0));
                match page.items.first() {
                    Some(first) if page.older => at = Around::Before(first.seq),
                    _ => break,
                }
            }

            prop_assert_eq!(&back, &seqs.iter().copied().collect::<Vec<_>>());
            let mut forth = Vec::new();
            let mut from = Around::Oldest;

            loop {
                let page = pick(all.clone(), from, limit);
                forth.extend(page.items.iter().map(|m| m.seq.0));
                match page.items.last() {
                    Some(last) if page.newer => from = Around::After(last.seq),
                    _ => break,
                }
            }

            prop_assert_eq!(forth, back);
        }

        #[test]
        fn the_page_does_not_depend_on_how_much_of_it_was_still_in_memory(
            seqs in proptest::collection::btree_set(1_u64..60, 0..40),
            applied in 0_usize..40,
            overlap in 0_usize..5,
            limit in 1_usize..10,
            at in around(),
        ) {
            let all: Vec<_> = seqs.iter().map(|seq| message(*seq)).collect();
            let applied = applied.min(all.len());
            let rows = all[..applied].to_vec();
            let tail = all[applied.saturating_sub(overlap)..].to_vec();
            prop_assert_eq!(pick(merge(rows, tail), at, limit), pick(all.clone(), at, limit));
            prop_assert_eq!(pick(cut(&all, at, limit), at, limit).items, pick(all, at, limit).items);
        }

        #[test]
        fn a_page_around_a_seq_has_its_nearest_neighbours(
            seqs in proptest::collection::btree_set(1_u64..60, 1..40),
            limit in 1_usize..10,
            at in 0_u64..60,
        ) {
            let all: Vec<_> = seqs.iter().map(|seq| message(*seq)).collect();
            let page = pick(all.clone(), Around::Around(Seq(at)), limit);
            prop_assert_eq!(page.items.len(), limit.min(all.len()));
            if seqs.contains(&at) {
                prop_assert!(page.items.iter().any(|m| m.seq.0 == at));
            }
        }
    }
}
