//! Holding still, so that the shard can be given to another node (ADR 19): writes are parked, what
//! is decided already is appended and answered, and when nothing is on its way any more the tails
//! are final.

use tokio::sync::oneshot;

use crate::log::PerStream;
use crate::log::record::Tail;
use crate::shard::command::Delivered;
use crate::shard::write::append::Appender;
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::state::Holding;

impl Owner {
    /// Decides nothing from now on, until [`Owner::release`]. `told` gets the tails once they are
    /// final.
    pub(super) fn hold(&mut self, told: oneshot::Sender<PerStream<Tail>>) {
        // The last that is decided: whoever owns the shard next need not find out again what is
        // delivered.
        self.flush_delivered();
        self.log_progress();
        self.write_all_seen();
        self.holding = Some(Holding::Ending(told));
        self.parking.stall();
    }

    /// Tells the tails when they are final. To be called whenever something has come to its end.
    pub(super) fn tell_tails(&mut self) {
        let is_idle = self.appenders.each_ref().all(Appender::is_idle);
        if !is_idle || !self.is_announced() {
            return;
        }

        if let Some(Holding::Ending(told)) = self
            .holding
            .take_if(|holding| matches!(holding, Holding::Ending(_)))
        {
            self.holding = Some(Holding::Still);
            if told
                .send(self.appenders.each_ref().map(Appender::committed))
                .is_err()
            {
                self.release();
            }
        }
    }

    /// Decides again.
    pub(super) fn release(&mut self) {
        if self.holding.take().is_some() {
            self.parking.unstall();
            self.look_at_log();
        }
    }

    /// The shard is another node's: it ends here. Answers the marks that were gathered and not
    /// decided.
    pub(super) fn give_up(&mut self) -> Vec<Delivered> {
        self.closing = true;
        self.parking.clear();
        self.delivered_count = 0;
        let gathered = std::mem::take(&mut self.delivered).into_iter();
        gathered
            .flat_map(|(conversation, marks)| {
                let of = move |(user, up_to)| Delivered {
                    conversation: conversation.clone(),
                    user,
                    up_to,
                };
                marks.into_iter().map(of)
            })
            .collect()
    }
}
