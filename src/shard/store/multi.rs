//! One statement for many rows. Chunks have fixed sizes, so that the prepared statements stay cached: row by row the
//! hand-over to SQLite's thread costs several times the SQL.

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

use crate::shard::store::StoreError;

/// Rows of one statement.
const CHUNKS: [usize; 4] = [64, 16, 4, 1];

/// A query that rows are bound to.
pub(super) type Bound<'q> = Query<'q, Sqlite, SqliteArguments>;

/// A statement whose middle is repeated per row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Multi {
    /// Before the rows.
    pub(super) head: &'static str,
    /// One row.
    pub(super) row: &'static str,
    /// After the rows.
    pub(super) tail: &'static str,
}

impl Multi {
    /// The text for that many rows.
    pub(super) fn text(&self, rows: usize) -> String {
        let mut text = String::with_capacity(self.head.len() + (self.row.len() + 2) * rows + self.tail.len());
        text.push_str(self.head);
        for index in 0..rows {
            text.push_str(if index == 0 { "" } else { ", " });
            text.push_str(self.row);
        }
        text.push_str(self.tail);
        text
    }

    /// Runs it for all rows, in order. Returns how many rows were changed.
    pub(super) async fn run<T>(
        &self,
        connection: &mut SqliteConnection,
        rows: &[T],
        bind: impl for<'q> Fn(Bound<'q>, &T) -> Bound<'q>,
    ) -> Result<u64, StoreError> {
        let mut changed = 0;
        let mut rest = rows;
        while !rest.is_empty() {
            let size = CHUNKS.into_iter().find(|size| *size <= rest.len()).unwrap_or(1);
            let (chunk, after) = rest.split_at(size);
            let empty: Bound<'_> = sqlx::query(AssertSqlSafe(self.text(size)));
            let query = chunk.iter().fold(empty, &bind);
            changed += query.execute(&mut *connection).await?.rows_affected();
            rest = after;
        }
        Ok(changed)
    }
}
