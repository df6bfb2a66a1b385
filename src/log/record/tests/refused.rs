//! Entries that are refused: of another tail, of a later version, or malformed.

use super::*;
use crate::log::record::entry::{ENTRY_RECORDS_MAX, EntryError};

// ---- place and chain
// ------------------------------------------------------------------------

fn starts(count: usize) -> Vec<Bytes> {
    let start = |epoch| Record::EpochStart {
        epoch: Epoch(epoch),
        node: NodeId::from("n"),
        ts: 1,
    };
    (1..)
        .take(count)
        .map(|epoch| start(epoch).encode())
        .collect()
}

#[test]
fn an_entry_follows_only_the_tail_that_it_was_sealed_for() {
    let (first, tail) = seal(&Tail::EMPTY, Epoch(1), &starts(3));
    let (second, end) = seal(&tail, Epoch(2), &starts(2));
    let read = Entry::decode_after(&tail, &second).unwrap();

    assert_eq!(
        (read.first, read.tail, read.epoch, read.records.len()),
        (Offset(4), end, Epoch(2), 2)
    );
    assert_eq!(
        read.numbered()
            .map(|(offset, _)| offset.0)
            .collect::<Vec<_>>(),
        [4, 5]
    );

    let hole = EntryError::Hole {
        expected: Offset(1),
        found: Offset(4),
    };
    assert_eq!(Entry::decode_after(&Tail::EMPTY, &second), Err(hole));

    let again = EntryError::Hole {
        expected: Offset(4),
        found: Offset(1),
    };
    assert_eq!(Entry::decode_after(&tail, &first), Err(again));

    let other_history = Tail {
        offset: tail.offset,
        chain: end.chain,
    };

    assert_eq!(
        Entry::decode_after(&other_history, &second),
        Err(EntryError::Unlinked(Offset(4)))
    );
}

#[test]
fn a_later_version_is_named_as_such() {
    let (bytes, _) = seal(&Tail::EMPTY, Epoch(1), &starts(1));
    let mut later = bytes.to_vec();
    later[0] = 2;
    assert_eq!(
        Entry::decode_after(&Tail::EMPTY, &Bytes::from(later)),
        Err(EntryError::Version(2))
    );
}

#[test]
fn lengths_and_counts_that_do_not_fit_are_malformed() {
    let over = u16::try_from(ENTRY_RECORDS_MAX + 1).unwrap();
    let flaws: [(u16, &[u8]); 8] = [
        (0, b""),
        (over, b""),
        (1, b""),
        (1, b"\0\0\0"),
        (1, b"\0\0\0\x02a"),
        (1, b"\xff\xff\xff\xffa"),
        (1, b"\0\0\0\0z"),
        (2, b"\0\0\0\x01a"),
    ];

    for (count, body) in flaws {
        let read = Entry::decode_after(&Tail::EMPTY, &with_a_right_chain(count, body));
        assert!(
            matches!(read, Err(EntryError::Malformed(_))),
            "{count} {body:?}: {read:?}"
        );
    }

    assert!(Entry::decode_after(&Tail::EMPTY, &with_a_right_chain(1, b"\0\0\0\x01a")).is_ok());
}
