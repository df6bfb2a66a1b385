//! What the owner answers to an audit (ADR 25): pages of its file, of one moment each, that has
//! everything acknowledged before; and what of them differs from memory, or in itself.

use std::time::Duration;

use crate::ids::ConversationName;
use crate::shard::command::{AuditAsk, AuditTold, Differing, ShardError};
use crate::shard::file::store::{Counted, DENSE_SEQS};
use crate::shard::read::barrier::Reading;
use crate::shard::state::Inner;
use crate::shard::write::head::Head;
use crate::shard::write::owner::{Input, Settled};

/// Most conversations and most pairs of one page, whatever was asked for.
const CONVERSATIONS_MAX: u32 = 32;
const PAIRS_MAX: usize = 256;

/// Pause before what differs is looked at again.
const AGAIN: Duration = Duration::from_millis(250);

impl Inner {
    /// Answers a question of an audit.
    pub(in crate::shard) async fn audit(
        &self,
        ask: AuditAsk,
        reading: &Reading,
    ) -> Result<AuditTold, ShardError> {
        self.all_applied(reading).await?;
        match ask {
            AuditAsk::Conversations {
                after,
                limit,
                refill,
            } => {
                let limit = limit.clamp(1, CONVERSATIONS_MAX);
                self.audit_page(after, (limit, refill), reading).await
            }
            AuditAsk::Ends => {
                let (applied, quarantined) = self.store.ends().await?;
                Ok(AuditTold::Ends {
                    applied,
                    quarantined,
                })
            }
            AuditAsk::Members { after, limit } => {
                let limit = pairs(limit);
                let members = self.store.members(after.as_ref(), limit).await?;
                let next = next(&members, limit).map(|(pair, _)| pair.clone());
                Ok(AuditTold::Members { members, next })
            }
            AuditAsk::Listed { after, limit } => {
                let limit = pairs(limit);
                let mut rows = self.store.listed(after.as_ref(), limit).await?;
                let next = next(&rows, limit).map(|(pair, _)| pair.clone());
                rows.retain(|(_, row)| row.joined);
                Ok(AuditTold::Listed { rows, next })
            }
            AuditAsk::Stands(mut pairs) => {
                pairs.truncate(PAIRS_MAX);
                Ok(AuditTold::Stands(self.store.stands(&pairs).await?))
            }
            AuditAsk::Rows(mut pairs) => {
                pairs.truncate(PAIRS_MAX);
                Ok(AuditTold::Rows(self.store.index_rows(&pairs).await?))
            }
        }
    }

    /// Waits until the file has everything that is committed now.
    async fn all_applied(&self, reading: &Reading) -> Result<(), ShardError> {
        let tails = self.ask(reading.deadline, Input::Committed).await?;
        self.barrier(tails.map(|tail| tail.offset), reading).await
    }

    /// A page of conversations. What differs is looked at twice: memory and the two streams are not
    /// in step while somebody writes.
    async fn audit_page(
        &self,
        after: Option<ConversationName>,
        (limit, refill): (u32, bool),
        reading: &Reading,
    ) -> Result<AuditTold, ShardError> {
        let page = self.store.counted(after.as_ref(), limit).await?;
        let looked_at = u32::try_from(page.len()).unwrap_or(u32::MAX);
        let next = next(&page, limit).map(|counted| counted.conversation.clone());

        let mut differing = self.differing(&page, reading).await?;
        if !differing.is_empty() {
            tokio::time::sleep(AGAIN).await;
            self.all_applied(reading).await?;
            let again = self.store.counted(after.as_ref(), limit).await?;
            let again = self.differing(&again, reading).await?;
            differing.retain(|one| again.contains(one));
        }

        if refill {
            for one in &mut differing {
                one.told.mended = self.refilled(one, reading).await?;
            }
        }
        Ok(AuditTold::Conversations {
            looked_at,
            differing: differing.into_iter().map(|one| one.told).collect(),
            next,
        })
    }

    /// What differs now, of these conversations.
    async fn differing(
        &self,
        page: &[Counted],
        reading: &Reading,
    ) -> Result<Vec<Found>, ShardError> {
        let mut differing = Vec::new();
        for counted in page {
            let told = |what| Differing {
                conversation: counted.conversation.clone(),
                what,
                mended: false,
            };
            let counts = wrong_counts(counted).into_iter().map(|what| Found {
                told: told(what),
                is_head: false,
            });
            differing.extend(counts);

            let head = self.wrong_head(&counted.conversation, reading).await?;
            differing.extend(head.map(|what| Found {
                told: told(what),
                is_head: true,
            }));
        }
        Ok(differing)
    }

    /// What the head in memory has otherwise than the file. It is the same before and after the
    /// file is read, and the file has all of it: so the file stood where it stands.
    async fn wrong_head(
        &self,
        name: &ConversationName,
        reading: &Reading,
    ) -> Result<Option<String>, ShardError> {
        let Some(before) = self.settled_head(name, reading).await? else {
            return Ok(None);
        };
        let file = self.store.head(name).await?.map(Head::filled);
        if self.settled_head(name, reading).await?.as_ref() != Some(&before) {
            return Ok(None);
        }
        Ok(match (before, file) {
            (Settled::Head(head), Some(file)) => head.differs_from(&file),
            (Settled::Head(_), None) => {
                Some("the head in memory has it, the file has not".to_owned())
            }
            (Settled::Absent, Some(_)) => {
                Some("the file has it, and memory says that it does not exist".to_owned())
            }
            (Settled::Absent, None) => None,
        })
    }

    async fn settled_head(
        &self,
        name: &ConversationName,
        reading: &Reading,
    ) -> Result<Option<Settled>, ShardError> {
        let asked = |answer| Input::Settled(name.clone(), answer);
        self.ask(reading.deadline, asked).await
    }

    /// Drops a head that differs. True when none is there that does.
    async fn refilled(&self, one: &Found, reading: &Reading) -> Result<bool, ShardError> {
        if !one.is_head {
            return Ok(false);
        }
        let name = &one.told.conversation;
        self.inputs.send(Input::Refill(name.clone())).await.ok();
        Ok(self.wrong_head(name, reading).await?.is_none())
    }
}

/// Something that differs.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    told: Differing,
    /// The head in memory, which can be filled again.
    is_head: bool,
}

fn pairs(limit: u32) -> u32 {
    limit.clamp(1, u32::try_from(PAIRS_MAX).unwrap_or(u32::MAX))
}

/// The last of a page, when there may be more behind it.
fn next<T>(page: &[T], limit: u32) -> Option<&T> {
    let is_full = page.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    page.last().filter(|_| is_full)
}

/// What of a conversation's counts is not what its rows say, one clause each.
fn wrong_counts(counted: &Counted) -> Vec<String> {
    let mut wrong = Vec::new();
    if counted.last_seq != counted.highest_seq {
        wrong.push(format!(
            "its last seq is {}, and its newest message or event has {}",
            counted.last_seq, counted.highest_seq
        ));
    }
    let held = counted.last_seq.0.saturating_sub(counted.pruned.0);
    let newest = held.min(DENSE_SEQS);
    if counted.dense != newest {
        wrong.push(format!(
            "of its newest {newest} seqs {} have a message or an event",
            counted.dense
        ));
    }

    for (what, (told, there)) in [
        ("participants", counted.participants),
        ("bans", counted.bans),
    ] {
        if told != there {
            wrong.push(format!("it counts {told} {what}, and has {there}"));
        }
    }

    if counted.keeps == (false, true) {
        wrong.push("it does not know that readers or muted ones left".to_owned());
    }
    if counted.participants.1 > 0 && !counted.admin_takes_part {
        wrong.push("its admin takes no part".to_owned());
    }
    for (many, what) in [
        (
            counted.joined_later,
            "participants joined after its last seq",
        ),
        (counted.marks_later, "watermarks are after its last seq"),
        (
            counted.reactions_astray,
            "reactions are to messages that it has not",
        ),
    ] {
        // Of a closed one messages go first.
        if many > 0 && !counted.is_closed {
            wrong.push(format!("{many} {what}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Seq;

    fn sound() -> Counted {
        Counted {
            conversation: ConversationName::parse("c").expect("a name"),
            last_seq: Seq(5_000),
            pruned: Seq(0),
            is_closed: false,
            highest_seq: Seq(5_000),
            dense: DENSE_SEQS,
            participants: (3, 3),
            bans: (1, 1),
            keeps: (true, false),
            admin_takes_part: true,
            joined_later: 0,
            marks_later: 0,
            reactions_astray: 0,
        }
    }

    #[test]
    fn a_sound_conversation_has_no_wrong_count_and_each_wrong_one_is_told() {
        assert_eq!(wrong_counts(&sound()), [] as [String; 0]);
        let young = Counted {
            last_seq: Seq(2),
            highest_seq: Seq(2),
            dense: 2,
            ..sound()
        };
        assert_eq!(wrong_counts(&young), [] as [String; 0]);
        let left = Counted {
            participants: (0, 0),
            admin_takes_part: false,
            ..sound()
        };
        assert_eq!(wrong_counts(&left), [] as [String; 0], "everybody left");

        let erasing = Counted {
            last_seq: Seq(5_000),
            pruned: Seq(4_999),
            dense: 1,
            is_closed: true,
            reactions_astray: 7,
            ..left
        };
        assert_eq!(wrong_counts(&erasing), [] as [String; 0]);

        let all = Counted {
            conversation: sound().conversation,
            pruned: Seq(0),
            is_closed: false,
            last_seq: Seq(10),
            highest_seq: Seq(9),
            dense: 8,
            participants: (3, 2),
            bans: (0, 1),
            keeps: (false, true),
            admin_takes_part: false,
            joined_later: 1,
            marks_later: 2,
            reactions_astray: 3,
        };
        assert_eq!(
            wrong_counts(&all),
            [
                "its last seq is 10, and its newest message or event has 9",
                "of its newest 10 seqs 8 have a message or an event",
                "it counts 3 participants, and has 2",
                "it counts 0 bans, and has 1",
                "it does not know that readers or muted ones left",
                "its admin takes no part",
                "1 participants joined after its last seq",
                "2 watermarks are after its last seq",
                "3 reactions are to messages that it has not",
            ]
        );
    }
}
