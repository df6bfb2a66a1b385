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
            Push::Watermark {
                conversation,
                user,
                read,
                up_to,
                ts,
                targets,
                origin,
            } => {
                let of = ReceiptOf::Watermark { read };
                let key = ReceiptKey {
                    conversation: conversation.clone(),
                    user: user.clone(),
                    of,
                };
                let kind = if read {
                    ReceiptKind::Read { up_to, ts }
                } else {
                    ReceiptKind::Delivered { up_to, ts }
                };
                let mut post = receipt(&conversation, &user, &kind);
                for target in targets.iter().filter(|target| **target != user) {
                    self.tell_user(target, &key, &mut post, None);
                }
                if read {
                    self.tell_user(&user, &key, &mut post, origin);
                }
                self.send_receipt(&key, post);
            }
            Push::Reaction {
                conversation,
                user,
                message_id,
                reaction,
                ts,
            } => {
                let kind = ReceiptKind::Reaction {
                    message_id,
                    reaction,
                    ts,
                };
                let post = receipt(&conversation, &user, &kind);
                let key = ReceiptKey {
                    conversation,
                    user,
                    of: ReceiptOf::Reaction(message_id),
                };
                self.tell_members(&key, post);
            }
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
}
