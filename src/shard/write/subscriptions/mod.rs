//! Who is told of what: the bounded sinks of subscribed nodes, and per conversation and user index
//! the set of them.

mod subscriber;

mod interests;

mod delivering;

#[cfg(test)]
#[expect(
    clippy::shadow_unrelated,
    reason = "a test tells several steps of one story"
)]
mod tests;

pub(crate) use interests::Subscriptions;
#[cfg(test)]
pub(crate) use subscriber::Pushed;
pub(crate) use subscriber::{Subscriber, SubscriberId};
