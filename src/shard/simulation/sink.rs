//! A log that nobody asks: the lane that it belongs to has no loops.

use async_trait::async_trait;

use crate::ids::{Offset, ShardId};
use crate::shard::log::{
    AppendError, AppendOutcome, Batch, Claim, ClaimOutcome, Control, LogError, RawEntry, ShardLog, Stream, Token,
};

#[derive(Debug)]
pub(super) struct NoLog;

#[async_trait]
impl ShardLog for NoLog {
    async fn control(&self, _: ShardId) -> Result<Option<Control>, LogError> {
        Ok(None)
    }

    async fn claim(&self, _: Claim) -> Result<ClaimOutcome, LogError> {
        Ok(ClaimOutcome::Refused(None))
    }

    async fn append(&self, _: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
        Vec::new()
    }

    async fn renew(&self, _: &[(ShardId, Token)]) -> Result<Vec<bool>, LogError> {
        Ok(Vec::new())
    }

    async fn read(&self, _: ShardId, _: Stream, _: Offset, _: usize) -> Result<Vec<RawEntry>, LogError> {
        Ok(Vec::new())
    }

    async fn trim(&self, _: ShardId, _: Token, _: Stream, _: Offset) -> Result<(), LogError> {
        Ok(())
    }
}
