//! What becomes of a field that may also be taken away: absent is not the same as null.

use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde::{Deserialize as DeriveDeserialize, Serialize};

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, DeriveDeserialize)]
pub(crate) enum Patch<T> {
    /// It stays.
    #[default]
    Keep,
    /// It is this from now on.
    Set(T),
}

impl<T> Patch<T> {
    /// Whether it stays.
    #[must_use]
    pub(crate) fn keeps(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// What it is to be, if it does not stay.
    #[must_use]
    pub(crate) fn set(&self) -> Option<&T> {
        match self {
            Self::Keep => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T: Copy> Patch<T> {
    /// What it is afterwards, if it was that before.
    #[must_use]
    pub(crate) fn over(&self, before: T) -> T {
        self.set().copied().unwrap_or(before)
    }
}

impl<T: PartialEq> Patch<T> {
    /// The same, but that what is so already stays.
    #[must_use]
    pub(crate) fn but_for(self, now: &T) -> Self {
        match self {
            Self::Set(value) if value != *now => Self::Set(value),
            Self::Set(_) | Self::Keep => Self::Keep,
        }
    }
}

/// A field of a body that may be absent, null, or a value.
pub(super) fn given<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(from).map(Some)
}
