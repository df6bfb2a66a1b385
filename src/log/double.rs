//! A log for tests of what stands beside one: it does what the test says, and of all else nothing.

use std::fmt;

use async_trait::async_trait;

use crate::ids::{Offset, ShardId};
use crate::log::{
    AppendError, AppendOutcome, Batch, Claim, ClaimOutcome, Control, LogError, RawEntry, ShardLog,
    Stream, Token,
};

/// A part of a [`ShardLog`]; what is not given belongs to nobody, is empty, and stays so.
#[async_trait]
pub(crate) trait Double: fmt::Debug + Send + Sync + 'static {
    /// As [`ShardLog::place`].
    fn place(&self, _: ShardId) -> u64 {
        0
    }

    /// As [`ShardLog::append`].
    async fn append(&self, _: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
        Vec::new()
    }

    /// As [`ShardLog::read`].
    async fn read(
        &self,
        _: ShardId,
        _: Stream,
        _: Offset,
        _: usize,
    ) -> Result<Vec<RawEntry>, LogError> {
        Ok(Vec::new())
    }

    /// As [`ShardLog::trim`].
    async fn trim(&self, _: Stream, _: Offset) -> Result<(), LogError> {
        Ok(())
    }
}

#[async_trait]
impl<D: Double> ShardLog for D {
    fn place(&self, shard: ShardId) -> u64 {
        Double::place(self, shard)
    }

    async fn control(&self, _: ShardId) -> Result<Option<Control>, LogError> {
        Ok(None)
    }

    async fn claim(&self, _: Claim) -> Result<ClaimOutcome, LogError> {
        Ok(ClaimOutcome::Refused(None))
    }

    async fn append(&self, cycle: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
        Double::append(self, cycle).await
    }

    async fn renew(&self, _: &[(ShardId, Token)]) -> Vec<Result<bool, LogError>> {
        Vec::new()
    }

    async fn read(
        &self,
        shard: ShardId,
        stream: Stream,
        after: Offset,
        bytes_max: usize,
    ) -> Result<Vec<RawEntry>, LogError> {
        Double::read(self, shard, stream, after, bytes_max).await
    }

    async fn trim(
        &self,
        _: ShardId,
        _: Token,
        stream: Stream,
        upto: Offset,
    ) -> Result<(), LogError> {
        Double::trim(self, stream, upto).await
    }
}
