//! What participants set for themselves alone (ADR 28).

use crate::ids::Seq;
use crate::node::http::answer::{Answer, Refusal, unexpected};
use crate::node::http::request::{Call, invalid};
use crate::node::http::rest::Rest;
use crate::protocol::{Patch, ViewBody};
use crate::shard::command::{Command, Done, SetOwnMark, SetView};

impl Rest {
    /// The mark first: of the two it alone can be refused for what it says.
    pub(super) async fn set_own_view(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let body: ViewBody = call.json()?;
        call.query()?;
        let sets = body.notify_after.is_some() || body.pinned.is_some() || body.archived.is_some();
        if !sets && body.read_up_to.is_none() {
            let detail = "at least one of notify_after, pinned, archived and read_up_to is given";
            return Err(invalid(detail).into());
        }

        let name = call.conversation()?;
        if let Some(read_up_to) = body.read_up_to {
            let command = Command::OwnMark(SetOwnMark {
                conversation: name.clone(),
                by: call.user.clone(),
                read_up_to: Seq(read_up_to),
            });
            self.set_part_of_view(call, command).await?;
        }
        if sets {
            let command = Command::View(SetView {
                conversation: name,
                by: call.user.clone(),
                notify_after: body.notify_after.map_or(Patch::Keep, Patch::Set),
                pinned: body.pinned.map_or(Patch::Keep, Patch::Set),
                archived: body.archived,
            });
            self.set_part_of_view(call, command).await?;
        }

        self.show_conversation(call).await
    }

    async fn set_part_of_view(&self, call: &Call<'_>, command: Command) -> Result<(), Refusal> {
        let slot = call.conversation()?.slot();
        match self.execute(call, slot, command).await? {
            Done::Marked => Ok(()),
            _ => Err(unexpected("own view")),
        }
    }
}
