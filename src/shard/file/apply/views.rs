//! The messages stream: participants' own views (ADR 28), at the conversation and in the indexes of
//! users.

use crate::ids::Offset;
use crate::log::record::{IndexChange, IndexView, OutboxPosition, ViewChange};
use crate::shard::file::apply::changes::ViewRow;
use crate::shard::file::apply::messages::Fold;

impl Fold {
    /// A participant's view is this from now on, and their list is to hear of it.
    pub(super) fn viewed(&mut self, offset: Offset, change: &ViewChange) -> Result<(), String> {
        self.is_open(&change.conversation)?;

        let row = ViewRow {
            revision: change.revision,
            notify_after: change.notify_after,
            pinned: change.pinned,
            archived: change.archived,
            at: change.at,
        };
        let member = (change.conversation.clone(), change.user.clone());
        self.changes.views.insert(member, Some(row));

        let told = IndexChange {
            user: change.user.clone(),
            conversation: change.conversation.clone(),
            seq: change.joined,
            joined: true,
            at: change.at,
            create_key: None,
            view: Some(IndexView {
                revision: change.revision,
                pinned: change.pinned,
                archived: change.archived,
            }),
        };
        self.outbox(OutboxPosition { offset, index: 0 }, told);
        Ok(())
    }

    /// A view in a user's index. It counts while the membership that it belongs to is the newest
    /// that the index knows: that of this batch, or else that of the file as it was before it.
    pub(super) fn index_view(&mut self, change: &IndexChange, view: IndexView) {
        let place = (change.user.clone(), change.conversation.clone());
        let views = match self.changes.index.get(&place) {
            Some((held, _)) if held.seq > change.seq => return,
            Some((held, _)) if held.seq == change.seq => &mut self.changes.views_after,
            _ => &mut self.changes.views_before,
        };

        let held = views.entry((place, change.seq)).or_insert(view);
        if view.revision >= held.revision {
            *held = view;
        }
    }

    /// A user's index knows a newer membership: views of older ones are over.
    pub(super) fn index_views_end(&mut self, change: &IndexChange) {
        let place = (&change.user, &change.conversation);
        let stays =
            |((user, name), joined): &((_, _), _)| (user, name) != place || *joined >= change.seq;
        self.changes.views_before.retain(|key, _| stays(key));
        self.changes.views_after.retain(|key, _| stays(key));
    }
}
