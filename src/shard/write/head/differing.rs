//! Whether a head in memory is what the file would fill.

use crate::shard::file::store::KEPT_MAX;
use crate::shard::write::head::Head;

impl Head {
    /// What of this head is not as in the one that was filled from the file, in one clause; `None`
    /// when all is.
    #[must_use]
    pub(in crate::shard) fn differs_from(&self, file: &Self) -> Option<String> {
        if self.last_seq != file.last_seq {
            return Some(format!(
                "the head in memory ends at seq {}, the file at {}",
                self.last_seq, file.last_seq
            ));
        }
        if self.participants.len() != file.participants.len() {
            return Some(format!(
                "the head in memory has {} participants, the file {}",
                self.participants.len(),
                file.participants.len()
            ));
        }

        let other = self
            .participants
            .iter()
            .find(|(user, standing)| file.participants.get(*user) != Some(*standing));
        if let Some((user, _)) = other {
            return Some(format!(
                "the head in memory and the file say different things of the participant {user}"
            ));
        }

        // Of too many who left, memory forgets other ones than a look into the file does.
        let gone = self.gone == file.gone || self.gone.len().max(file.gone.len()) >= KEPT_MAX;
        let parts = [
            ("its admin", self.admin == file.admin),
            ("its title", self.title == file.title),
            ("its data", self.data == file.data),
            ("its settings", self.settings == file.settings),
            ("who is banned", self.banned == file.banned),
            ("that it is closed", self.closed == file.closed),
            ("who left as a reader or muted", gone),
            ("participants' own views", self.views == file.views),
            ("its newest messages", self.recent == file.recent),
            ("what is gone", self.pruned == file.pruned),
            (
                "its creation",
                self.created == file.created
                    && self.created_by == file.created_by
                    && self.created_offset == file.created_offset
                    && self.create_key == file.create_key,
            ),
            (
                "the time of its last event",
                self.last_created == file.last_created,
            ),
        ];

        let differing: Vec<&str> = parts
            .into_iter()
            .filter(|(_, is_same)| !is_same)
            .map(|(what, _)| what)
            .collect();
        (!differing.is_empty()).then(|| {
            format!(
                "the head in memory and the file differ in {}",
                differing.join(", ")
            )
        })
    }
}
