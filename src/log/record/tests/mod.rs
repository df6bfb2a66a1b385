//! Records and entries: the way there and back, what is refused, and the fixtures that pin the
//! format for ever.

use bytes::{BufMut, Bytes};
use proptest::collection::vec;
use proptest::prelude::*;

use self::any::any_record;
use super::entry::{CHAIN_AT, ENTRY_VERSION, HEADER_BYTES, chain_of};
use crate::ids::{Epoch, NodeId, Offset};
use crate::log::record::Record;
use crate::log::record::entry::{Entry, Tail, seal};

mod any;
mod any_governing;
mod fixtures;
mod properties;
mod refused;

fn sealed(records: &[Record]) -> (Bytes, Tail) {
    let encoded: Vec<Bytes> = records.iter().map(Record::encode).collect();
    seal(&Tail::EMPTY, Epoch(3), &encoded)
}

/// An entry whose chain is right though its body is not: flaws that the chain does not find.
fn with_a_right_chain(count: u16, body: &[u8]) -> Bytes {
    let mut bytes = vec![ENTRY_VERSION, 0];
    bytes.extend(count.to_be_bytes());
    bytes.extend(1_u64.to_be_bytes());
    bytes.extend(1_u64.to_be_bytes());
    bytes.extend([0; 16]);
    bytes.extend(body);
    let chain = chain_of(&Tail::EMPTY.chain, &bytes);
    bytes[CHAIN_AT..HEADER_BYTES].copy_from_slice(&chain.0);
    Bytes::from(bytes)
}
