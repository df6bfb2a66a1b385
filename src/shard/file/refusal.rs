//! What a failure of the file means for whoever opens the shard with it.

use crate::shard::error::OpenError;
use crate::shard::file::store;
use crate::shard::file::store::StoreError;

impl From<store::OpenError> for OpenError {
    fn from(error: store::OpenError) -> Self {
        use store::OpenError::{Damaged, Foreign, OldSqlite, Sqlite, Unusable};
        match error {
            Damaged { .. } => Self::Damaged(error.to_string()),
            Foreign { .. } | OldSqlite(_) => Self::Foreign(error.to_string()),
            Unusable { .. } => Self::Refused(error.to_string()),
            Sqlite { .. } => Self::Failed(error.to_string()),
        }
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        if error.is_damage() {
            Self::Damaged(error.to_string())
        } else {
            Self::Failed(error.to_string())
        }
    }
}
