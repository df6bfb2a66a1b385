//! For the tests of the checker alone: a build with the feature `planted` can be told to do without
//! one protection, so that the checker can show that it notices. Without the feature nothing here
//! does anything.

/// A protection that a planted build can drop, by its name in `ROOKERY_PLANTED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// `wait`: a batch counts only with a second copy.
    Wait,
    /// `tail_check`: an append succeeds only at the tail that its appender names.
    TailCheck,
    /// `fence`: an append, a renewal, a look at the control record tell an owner that its token is
    /// not current any more.
    Fence,
    /// `lease_after_read`: the lease is looked at after a read was gathered.
    LeaseAfterRead,
    /// `owner_past_committed`: the owner's workers stop at what is committed.
    OwnerPastCommitted,
    /// `trim_on_applied`: the log is trimmed behind what is durable, not what is applied.
    TrimOnApplied,
    /// `dedupe`: an idempotency key is looked up before a message is decided.
    Dedupe,
    /// `resubscribe_cursor`: who subscribes again says what he has.
    ResubscribeCursor,
    /// `membership`: the owner decides who may send and read.
    Membership,
    /// `renewals_go_on`: leases are renewed again after a renewal failed.
    RenewalsGoOn,
    /// `refusal_waits`: a refusal is answered only when what it rests on is committed.
    RefusalWaits,
    /// `repeats_in_order`: requests of one socket and conversation that are repeated stay in their
    /// order.
    RepeatsInOrder,
    /// `list_proves`: a list of conversations is unmarked only when no outbox may still hold rows
    /// for it.
    ListProves,
    /// `whole_stays`: a session that was told of several stays at once gets each of them.
    WholeStays,
    /// `lost_shard_goes`: a shard that another took is let go, whatever is on its way from it.
    LostShardGoes,
    /// `attach_cursor`: a session that goes on at another node goes on where it stood.
    AttachCursor,
    /// `stamped_key`: a message that is said to another node again has the key that it had.
    StampedKey,
}

impl Protection {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 17] = [
        (Self::Wait, "wait"),
        (Self::TailCheck, "tail_check"),
        (Self::Fence, "fence"),
        (Self::LeaseAfterRead, "lease_after_read"),
        (Self::OwnerPastCommitted, "owner_past_committed"),
        (Self::TrimOnApplied, "trim_on_applied"),
        (Self::Dedupe, "dedupe"),
        (Self::ResubscribeCursor, "resubscribe_cursor"),
        (Self::Membership, "membership"),
        (Self::RenewalsGoOn, "renewals_go_on"),
        (Self::RefusalWaits, "refusal_waits"),
        (Self::RepeatsInOrder, "repeats_in_order"),
        (Self::ListProves, "list_proves"),
        (Self::WholeStays, "whole_stays"),
        (Self::LostShardGoes, "lost_shard_goes"),
        (Self::AttachCursor, "attach_cursor"),
        (Self::StampedKey, "stamped_key"),
    ];
}

/// Whether this process does without that protection. Always false but in a planted build that was
/// told so.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn is_dropped(_protection: Protection) -> bool {
    false
}

/// Whether this process does without that protection. Always false but in a planted build that was
/// told so.
#[cfg(feature = "planted")]
#[expect(clippy::disallowed_methods, reason = "no setting of any release")]
#[must_use]
pub fn is_dropped(protection: Protection) -> bool {
    static DROPPED: std::sync::LazyLock<Option<Protection>> = std::sync::LazyLock::new(|| {
        let name = std::env::var("ROOKERY_PLANTED").ok()?;
        let found = Protection::ALL
            .into_iter()
            .find(|(_, known)| *known == name);
        tracing::error!(
            name,
            known = found.is_some(),
            "this build drops a protection: for tests of the checker alone"
        );
        found.map(|(protection, _)| protection)
    });
    *DROPPED == Some(protection)
}
