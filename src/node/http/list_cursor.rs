//! Cursors of the list of conversations. Pure.

use std::cmp::Reverse;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ids::Offset;
use crate::node::http::request::invalid;
use crate::problem::Problem;
use crate::shard::command::ListPlace;

/// First byte of a cursor: that of the other orders came later.
const JOINED: u8 = 1;
const PINNED: u8 = 2;
const ACTIVITY: u8 = 3;

/// Where a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursor {
    /// In the order of joining.
    Joined(ListPlace),
    /// In that of what happened.
    Activity(Place),
}

/// A place in a list that is sorted by what happened last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) pinned: Option<u32>,
    /// Unix milliseconds of the newest message or event.
    pub(super) event: u64,
    pub(super) version: Offset,
}

impl Place {
    /// What it is sorted by: what is pinned first, in its order, then by the newest event.
    pub(super) fn order(&self) -> (u64, Reverse<u64>, Reverse<Offset>) {
        let pinned = self.pinned.map_or(u64::MAX, u64::from);
        (pinned, Reverse(self.event), Reverse(self.version))
    }
}

impl Cursor {
    /// As clients hold it.
    pub(super) fn write(self) -> String {
        let (kind, numbers) = match self {
            Self::Joined(ListPlace {
                pinned: None,
                version,
            }) => (JOINED, vec![version.0]),
            Self::Joined(ListPlace {
                pinned: Some(pinned),
                version,
            }) => (PINNED, vec![u64::from(pinned), version.0]),
            Self::Activity(place) => {
                let pinned = place.pinned.map_or(u64::MAX, u64::from);
                (ACTIVITY, vec![pinned, place.event, place.version.0])
            }
        };
        let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
        let all: Vec<u8> = std::iter::once(kind).chain(bytes).collect();
        URL_SAFE_NO_PAD.encode(all)
    }

    /// The way back, of a cursor of the order that is asked for.
    pub(super) fn read(text: &str, by_activity: bool) -> Result<Self, Problem> {
        let wrong = || invalid("the cursor is none that was given here for this order");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_wrong| wrong())?;
        let (kind, rest) = bytes.split_first().ok_or_else(wrong)?;
        let (chunks, left) = rest.as_chunks::<8>();
        let numbers: Vec<u64> = chunks
            .iter()
            .map(|chunk| u64::from_be_bytes(*chunk))
            .collect();

        let pin = |pinned: u64| u32::try_from(pinned).ok();
        let found = match (*kind, numbers.as_slice(), left) {
            (JOINED, &[version], []) => Self::Joined(ListPlace {
                pinned: None,
                version: Offset(version),
            }),
            (PINNED, &[pinned, version], []) => Self::Joined(ListPlace {
                pinned: Some(pin(pinned).ok_or_else(wrong)?),
                version: Offset(version),
            }),
            (ACTIVITY, &[pinned, event, version], []) => Self::Activity(Place {
                pinned: pin(pinned),
                event,
                version: Offset(version),
            }),
            _ => return Err(wrong()),
        };
        let (version, is_activity) = match found {
            Self::Joined(place) => (place.version, false),
            Self::Activity(place) => (place.version, true),
        };
        if is_activity != by_activity || i64::try_from(version.0).is_err() {
            return Err(wrong());
        }
        Ok(found)
    }

    /// The place in the order of joining.
    pub(super) fn joined(self) -> Option<ListPlace> {
        match self {
            Self::Joined(place) => Some(place),
            Self::Activity(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;

    fn cursors() -> Vec<Cursor> {
        let versions = [0, 1, 77, i64::MAX.unsigned_abs()].map(Offset);
        let pins = [None, Some(0), Some(2_147_483_647)];
        let mut all = Vec::new();
        for version in versions {
            for pinned in pins {
                all.push(Cursor::Joined(ListPlace { pinned, version }));
                let event = version.0 / 2;
                all.push(Cursor::Activity(Place {
                    pinned,
                    event,
                    version,
                }));
            }
        }
        all
    }

    #[test]
    fn a_cursor_survives_the_way_out_and_back_and_serves_its_own_order_alone() {
        for cursor in cursors() {
            let text = cursor.write();
            let is_activity = matches!(cursor, Cursor::Activity(_));
            assert_eq!(Cursor::read(&text, is_activity), Ok(cursor));
            assert!(Cursor::read(&text, !is_activity).is_err(), "{cursor:?}");
        }
        // As it was before there were other orders.
        let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 6];
        let former = URL_SAFE_NO_PAD.encode(bytes);
        let place = ListPlace {
            pinned: None,
            version: Offset(6),
        };
        assert_eq!(Cursor::read(&former, false), Ok(Cursor::Joined(place)));
    }

    #[test]
    fn nothing_else_is_a_cursor() {
        let past = Cursor::Joined(ListPlace {
            pinned: None,
            version: Offset(u64::MAX),
        });
        for bad in ["", "x", "AQ", "BAAAAAAAAAAA", &past.write()] {
            let refused = Cursor::read(bad, false).map_err(|problem| problem.code);
            assert_eq!(refused, Err(Code::Invalid), "{bad}");
        }
    }

    #[test]
    fn what_is_pinned_comes_first_and_then_what_happened_last() {
        let place = |pinned, event, version| Place {
            pinned,
            event,
            version: Offset(version),
        };
        let sorted = [
            place(Some(0), 1, 1),
            place(Some(3), 9, 2),
            place(Some(3), 8, 9),
            place(None, 9, 5),
            place(None, 9, 4),
            place(None, 0, 8),
        ];
        assert!(sorted.is_sorted_by_key(Place::order));
    }
}
