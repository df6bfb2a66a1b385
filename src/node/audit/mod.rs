//! The audit of a running cluster (ADR 25): whether what is kept in several places says the same
//! everywhere, and what can be derived again sent again. Each step looks at one page, asks the
//! owners of the shards concerned, and holds nothing meanwhile.
//!
//! **Invariant.** Nothing is called different that a change under way explains: what differs is
//! looked at again behind a proof that the outbox between the two shards is delivered.

pub(crate) use page::{AuditOrder, AuditPage, AuditPart};
pub(crate) use run::Audit;

mod page;

mod lists;

mod looks;

mod ends;

mod run;

#[cfg(test)]
mod tests;
