//! The protobuf of what a conversation that is closed leaves in the log. Tags are for ever, as in
//! [`super::wire`].

use bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Closed {
    #[prost(string, tag = "1")]
    pub(super) by: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Pruned {
    #[prost(string, tag = "1")]
    pub(super) conversation: String,
    #[prost(uint64, tag = "2")]
    pub(super) up_to: u64,
    #[prost(uint64, tag = "3")]
    pub(super) at: u64,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub(super) messages: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Erased {
    #[prost(string, tag = "1")]
    pub(super) conversation: String,
    #[prost(bool, tag = "2")]
    pub(super) is_last: bool,
    #[prost(uint64, tag = "3")]
    pub(super) at: u64,
}
