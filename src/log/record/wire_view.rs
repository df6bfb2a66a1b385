//! The protobuf of a participant's own view. Tags are for ever, as in [`super::wire`].

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ViewChange {
    #[prost(string, tag = "1")]
    pub(super) conversation: String,
    #[prost(string, tag = "2")]
    pub(super) user: String,
    #[prost(uint64, tag = "3")]
    pub(super) joined: u64,
    #[prost(uint64, tag = "4")]
    pub(super) revision: u64,
    #[prost(uint64, optional, tag = "5")]
    pub(super) notify_after: Option<u64>,
    #[prost(uint32, optional, tag = "6")]
    pub(super) pinned: Option<u32>,
    #[prost(bool, tag = "7")]
    pub(super) archived: bool,
    #[prost(uint64, tag = "8")]
    pub(super) at: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OwnMark {
    #[prost(string, tag = "1")]
    pub(super) conversation: String,
    #[prost(string, tag = "2")]
    pub(super) user: String,
    #[prost(uint64, tag = "3")]
    pub(super) read_up_to: u64,
    #[prost(uint64, tag = "4")]
    pub(super) at: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct IndexView {
    #[prost(uint64, tag = "1")]
    pub(super) revision: u64,
    #[prost(uint32, optional, tag = "2")]
    pub(super) pinned: Option<u32>,
    #[prost(bool, tag = "3")]
    pub(super) archived: bool,
}
