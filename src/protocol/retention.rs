//! For how long events are kept where a conversation does not say it, and at most.

/// What the deployment says. A conversation may keep less than the maximum, never more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Of conversations that say nothing, in seconds; `None`: for ever.
    pub default_s: Option<u32>,
    /// Of every conversation, in seconds; `None`: no limit.
    pub max_s: Option<u32>,
}

impl Retention {
    /// For how many seconds a conversation with that setting keeps its events; `None`: for ever.
    #[must_use]
    pub(crate) fn kept_s(self, set: Option<u32>) -> Option<u32> {
        let kept = set.or(self.default_s);
        match (kept, self.max_s) {
            (Some(kept), Some(most)) => Some(kept.min(most)),
            (kept, most) => kept.or(most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_keeps_what_it_says_or_the_default_and_never_more_than_the_maximum() {
        let kept = |default_s, max_s, set| Retention { default_s, max_s }.kept_s(set);
        assert_eq!(kept(None, None, None), None);
        assert_eq!(kept(None, None, Some(60)), Some(60));
        assert_eq!(kept(Some(90), None, None), Some(90));
        assert_eq!(kept(Some(90), None, Some(600)), Some(600));
        assert_eq!(kept(None, Some(300), None), Some(300));
        assert_eq!(kept(Some(90), Some(300), None), Some(90));
        assert_eq!(kept(Some(90), Some(300), Some(600)), Some(300));
    }
}
