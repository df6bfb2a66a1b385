//! How many requests a user may make.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use quick_cache::sync::Cache;

use crate::ids::UserId;

/// Users whose use is remembered. Beyond that the least recently seen are forgotten, which gives
/// them a full burst again: the limit then errs in favour of the client, and memory stays bounded.
const USERS_MAX: usize = 100_000;

/// One bucket per user.
pub(super) struct PerUser {
    quota: Option<Quota>,
    buckets: Cache<UserId, Arc<DefaultDirectRateLimiter>>,
    clock: DefaultClock,
}

impl PerUser {
    /// `per_second` sustained, `burst` at once (at least one); 0 per second is no limit.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota =
            NonZeroU32::new(per_second).map(|rate| Quota::per_second(rate).allow_burst(burst));
        Self {
            quota,
            buckets: Cache::new(USERS_MAX),
            clock: DefaultClock::default(),
        }
    }

    /// Takes one request of the user's; when it is one too many, how long to wait.
    pub(super) fn take(&self, user: &UserId) -> Result<(), Duration> {
        let Some(quota) = self.quota else {
            return Ok(());
        };
        let fresh = || Ok::<_, std::convert::Infallible>(Arc::new(RateLimiter::direct(quota)));
        let Ok(bucket) = self.buckets.get_or_insert_with(user, fresh);
        bucket
            .check()
            .map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).expect("a name")
    }

    #[test]
    fn a_burst_is_taken_and_no_more_and_each_user_has_their_own() {
        // At one per second a bucket of three gives fifty only to a test that runs for most of a
        // minute.
        let limit = PerUser::new(1, 3);
        let taken = (0..50).filter(|_| limit.take(&user("bob")).is_ok()).count();
        assert!((3..50).contains(&taken), "{taken}");
        assert!(limit.take(&user("bob")).expect_err("empty") <= Duration::from_secs(1));
        assert!(limit.take(&user("alice")).is_ok());
    }

    #[test]
    fn zero_is_no_limit() {
        let limit = PerUser::new(0, 0);
        assert!((0..1_000).all(|_| limit.take(&user("bob")).is_ok()));
    }
}
