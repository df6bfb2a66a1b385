//! Which standbys of an owned shard keep up, and what that means for the trim of the log. Pure;
//! times are since boot.
//!
//! Two questions, two clocks. A standby is *in sync* (what is told, and who stands in for a second
//! copy) while it reported within `REPORT_MAX`, says that it follows, and lacks little. The log
//! is *held back* for it for longer, up to `SILENCE_MAX` after its last report; and for one that
//! was not heard of yet for as long, with nothing durable: so a new owner trims nothing that a
//! standby may need of which it has not heard, and a dead one holds the log back for that long.
//!
//! For nobody is the log held back beyond a share of its cap in bytes ([`Bounds`]), however well
//! they report: a disk that makes nothing durable must not fill the log until no write is taken.

pub(super) use bounds::Bounds;
pub(super) use standbys::InSync;

mod standbys;

mod bounds;

mod seeds;
