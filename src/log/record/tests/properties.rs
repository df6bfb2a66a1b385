//! The way there and back, for any records and any bytes.

use bytes::BytesMut;

use super::*;
use crate::log::record::entry::{Chain, Header};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_records_come_back_from_an_entry_in_any_place(
        records in vec(any_record(), 1..20),
        epoch: u64,
        offset in 0_u64..1 << 60,
        chain: [u8; 16],
    ) {
        let before = Tail { offset: Offset(offset), chain: Chain(chain) };
        let encoded: Vec<Bytes> = records.iter().map(Record::encode).collect();
        let (bytes, tail) = seal(&before, Epoch(epoch), &encoded);
        let entry = Entry::decode_after(&before, &bytes).unwrap();
        prop_assert_eq!(tail.offset.0, offset + records.len() as u64);
        prop_assert_eq!(&entry, &Entry { epoch: Epoch(epoch), first: before.offset.next(), tail, records });
        prop_assert_eq!(Header::read(&bytes).unwrap().tail(), tail);
    }

    #[test]
    fn an_entry_with_any_byte_changed_is_refused(
        records in vec(any_record(), 1..4), at: prop::sample::Index, change in 1_u8..,
    ) {
        let (bytes, _) = sealed(&records);
        let mut changed = bytes.to_vec();
        changed[at.index(bytes.len())] ^= change;
        prop_assert!(Entry::decode_after(&Tail::EMPTY, &Bytes::from(changed)).is_err());
    }

    #[test]
    fn a_cut_or_prolonged_entry_is_refused(records in vec(any_record(), 1..3), more in vec(any::<u8>(), 1..9)) {
        let (bytes, _) = sealed(&records);
        for length in 0..bytes.len() {
            prop_assert!(Entry::decode_after(&Tail::EMPTY, &bytes.slice(..length)).is_err(), "{length} bytes");
        }
        let prolonged = [bytes.as_ref(), &more].concat();
        prop_assert!(Entry::decode_after(&Tail::EMPTY, &Bytes::from(prolonged)).is_err());
    }

    #[test]
    fn a_body_of_any_bytes_is_read_or_refused_but_never_panics(count in 0_u16..5, body in vec(any::<u8>(), 0..64)) {
        let framed = [&u32::try_from(body.len()).unwrap().to_be_bytes(), body.as_slice()].concat();
        for tried in [body, framed] {
            if let Ok(entry) = Entry::decode_after(&Tail::EMPTY, &with_a_right_chain(count, &tried)) {
                prop_assert_eq!(entry.records.len(), usize::from(count));
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_kept_as_it_stands(bytes in vec(any::<u8>(), 0..64)) {
        let bytes = Bytes::from(bytes);
        let read = Record::decode(bytes.clone());
        if matches!(read, Record::Unreadable { .. }) {
            prop_assert_eq!(read.encode(), bytes);
        } else {
            prop_assert_eq!(Record::decode(read.encode()), read);
        }
    }

    #[test]
    fn a_kind_of_a_later_version_is_kept_as_it_stands(tag in 10_u32..1000, body in vec(any::<u8>(), 0..64)) {
        let mut bytes = BytesMut::new();
        prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut bytes);
        prost::encoding::encode_varint(body.len() as u64, &mut bytes);
        bytes.put_slice(&body);
        let bytes = bytes.freeze();
        let read = Record::decode(bytes.clone());
        prop_assert!(matches!(&read, Record::Unreadable { bytes: kept, .. } if *kept == bytes), "{read:?}");
        prop_assert_eq!(read.encode(), bytes);
    }
}
