//! Every push of an owner handed to those it is for.

use crate::node::session::board::Board;
use crate::node::session::board::told_receipts::receipt;
use crate::node::session::window::{ReceiptKey, ReceiptOf};
use crate::protocol::ReceiptKind;
use crate::shard::command::Push;

impl Board {
    /// Hands on one push.
    pub(in crate::node::session) fn push(&mut self, push: Push) {
        match push {
            Push::Event { epoch, event } => self.pushed(epoch, &event),
            moved @ Push::Watermark { .. } => self.tell_watermark(&moved),
            changed @ Push::View { .. } => self.tell_own_view(&changed),
            Push::Reaction {
                conversation,
                user,
                message_id,
                reaction,
                ts,
                previous,
            } => {
                let kind = ReceiptKind::Reaction {
                    message_id,
                    reaction,
                    ts,
                    previous,
                };
                let of = ReceiptOf::Reaction(message_id);
                self.reacted(
                    ReceiptKey {
                        conversation,
                        user,
                        of,
                    },
                    &kind,
                );
            }
            Push::Pruned {
                conversation,
                up_to,
            } => self.is_pruned(&conversation, up_to),
            Push::Typing {
                conversation,
                user,
                until,
            } => self.types(&conversation, &user, until),
            Push::Presence { epoch, changes, .. } => self.watching.all_told(epoch, changes),
            Push::Index { user, item } => self.index_changed(&user, &item),
            Push::Resubscribe { shard } => self.resubscribe(shard),
        }
    }

    fn reacted(&mut self, key: ReceiptKey, kind: &ReceiptKind) {
        let post = receipt(&key.conversation, &key.user, kind);
        self.tell_members(&key, post);
    }
}
