//! What frames count for.

/// Bytes of a body in one part of a [`Reply`](crate::link::front::Reply).
pub(crate) const PART_BYTES_MAX: usize = 64 << 10;

/// What a frame takes beside the texts in it, about.
pub(super) const FRAME_WEIGHT: usize = 64;

/// What a frame of so many bytes counts for, at both ends: some more than its text, so that a flood
/// of tiny ones is bounded too.
#[must_use]
pub(crate) fn cost(text: usize) -> u32 {
    u32::try_from(text.saturating_add(FRAME_WEIGHT)).unwrap_or(u32::MAX)
}
