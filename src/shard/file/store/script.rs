//! All statements of a transaction as one command to SQLite's thread: its hand-over costs several
//! times the SQL, and a transaction of a few rows would otherwise meet it ten times.
//!
//! Statements for many rows have few sizes, so that the prepared ones stay cached: what is missing
//! to the next size is filled with rows of NULL, which are inserted nowhere and match nothing.

use std::mem;

use futures_util::TryStreamExt;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Either, Encode, Executor, Sqlite, SqliteConnection, Type};

use crate::shard::file::store::StoreError;
use crate::telemetry::APPLY_STATEMENTS;

/// Rows of one statement.
const CHUNKS: [usize; 3] = [4, 16, 64];

/// What is bound so far.
#[derive(Debug, Default)]
pub(super) struct Bound {
    arguments: SqliteArguments,
    refused: Option<BoxDynError>,
}

impl Bound {
    /// Binds the next parameter.
    pub(super) fn bind<'t, T: Encode<'t, Sqlite> + Type<Sqlite>>(mut self, value: T) -> Self {
        if let Err(error) = self.arguments.add(value) {
            self.refused.get_or_insert(error);
        }
        self
    }
}

/// A statement whose middle is repeated per row. The first column of a row is never NULL.
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
    /// An insert: `head` up to the names of the columns, `tail` from the conflict on.
    pub(super) const fn insert(head: &'static str, row: &'static str) -> Self {
        Self {
            head,
            row,
            tail: "",
        }
    }

    /// The text for that many rows.
    pub(super) fn text(&self, rows: usize) -> String {
        let inserts = self.head.starts_with("INSERT");
        let mut text = String::with_capacity(
            self.head.len() + (self.row.len() + 2) * rows + self.tail.len() + 64,
        );
        text.push_str(self.head);
        text.push_str(if inserts {
            " SELECT * FROM (VALUES "
        } else {
            ""
        });

        for index in 0..rows {
            text.push_str(if index == 0 { "" } else { ", " });
            text.push_str(self.row);
        }

        text.push_str(if inserts {
            ") WHERE column1 IS NOT NULL"
        } else {
            ""
        });
        text.push_str(self.tail);
        text
    }

    fn columns(&self) -> usize {
        self.row.bytes().filter(|byte| *byte == b'?').count()
    }
}

/// The statements of one transaction in the making.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    bound: Bound,
    statements: usize,
}

/// How many rows each statement changed, in order.
#[derive(Debug, Default)]
pub(super) struct Changed(Vec<u64>);

/// Which statements of a script.
pub(super) type Which = std::ops::Range<usize>;

impl Changed {
    /// Rows changed by some of the statements.
    pub(super) fn by(&self, which: Vec<Which>) -> u64 {
        let found = which.into_iter().filter_map(|which| self.0.get(which));
        found.flatten().sum()
    }
}

impl Script {
    /// Begins a transaction.
    pub(super) fn begin() -> Self {
        Self {
            text: "BEGIN IMMEDIATE".to_owned(),
            bound: Bound::default(),
            statements: 1,
        }
    }

    /// Adds a statement.
    pub(super) fn add(&mut self, sql: &str, bind: impl FnOnce(Bound) -> Bound) {
        self.text.push_str(";\n");
        self.text.push_str(sql);
        self.bound = bind(mem::take(&mut self.bound));
        self.statements += 1;
    }

    /// Adds the statements for rows, in order.
    pub(super) fn rows<T>(
        &mut self,
        multi: &Multi,
        rows: &[T],
        bind: impl Fn(Bound, &T) -> Bound,
    ) -> Which {
        let first = self.statements;
        let mut rest = rows;

        while !rest.is_empty() {
            let [.., most] = CHUNKS;
            let size = CHUNKS
                .into_iter()
                .find(|size| *size >= rest.len())
                .unwrap_or(most);
            let (chunk, after) = rest.split_at(size.min(rest.len()));
            let missing = (size - chunk.len()) * multi.columns();
            self.add(&multi.text(size), |bound| {
                let bound = chunk.iter().fold(bound, &bind);
                (0..missing).fold(bound, |bound, _| bound.bind(None::<i64>))
            });
            rest = after;
        }

        first..self.statements
    }

    /// Runs everything and commits.
    ///
    /// # Errors
    /// The first statement that failed; none after it was run, so the transaction may still be
    /// open.
    pub(super) async fn commit(
        mut self,
        connection: &mut SqliteConnection,
    ) -> Result<Changed, StoreError> {
        self.text.push_str(";\nCOMMIT");
        if let Some(refused) = self.bound.refused {
            return Err(StoreError::Failed(refused.to_string()));
        }
        count(self.statements + 1);
        let query = sqlx::query_with(AssertSqlSafe(self.text), self.bound.arguments);
        let mut results = connection.fetch_many(query);
        let mut changed = Vec::with_capacity(self.statements + 1);
        while let Some(result) = results.try_next().await? {
            if let Either::Left(done) = result {
                changed.push(done.rows_affected());
            }
        }
        Ok(Changed(changed))
    }
}

/// Reads what a transaction goes by before it begins: rows for whatever `asked` names, which is
/// JSON.
pub(super) async fn look_up(
    connection: &mut SqliteConnection,
    sql: &'static str,
    asked: String,
) -> Result<Vec<SqliteRow>, StoreError> {
    count(1);
    Ok(sqlx::query(sql).bind(asked).fetch_all(connection).await?)
}

fn count(statements: usize) {
    APPLY_STATEMENTS.add(u64::try_from(statements).unwrap_or(u64::MAX), &[]);
}
