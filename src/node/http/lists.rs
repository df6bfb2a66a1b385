//! The list of the caller's conversations. It goes by the caller: this node must own their shard.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::ids::ConversationName;
use crate::node::http::answer::{Answer, Refusal, unexpected};
use crate::node::http::list_cursor::{Cursor, Place};
use crate::node::http::request::Call;
use crate::node::http::rest::Rest;
use crate::problem::{Code, Problem};
use crate::protocol::{ConversationItem, ListItem, ListPage, PartialItem};
use crate::shard::command::{Found, Freshness, ListPlace, Listed, Query};

/// Kept back from the budget of a list, so that there is time to tell without those owners that did
/// not answer.
const SUMMARIES_MARGIN: Duration = Duration::from_millis(500);

/// How long a list waits for the proof that it lacks nothing, unless its reader takes no other.
const PROOF_WAIT: Duration = Duration::from_millis(500);

/// Kept back from the budget of a list whose reader takes no other, so that there is time for the
/// list itself.
const PROOF_MARGIN: Duration = Duration::from_millis(1_500);

/// Of how many conversations everything is gathered at once: to count what is unread in all of
/// them, and to sort them by what happened in them.
const GATHERED_MAX: usize = 2_000;

/// What is asked of a list.
struct Wanted {
    limit: u32,
    after: Option<Cursor>,
    archived: Option<bool>,
    by_activity: bool,
    changed_since: Option<u64>,
}

/// What owners told, by name; nothing of one whose owner did not answer.
type Told = HashMap<ConversationName, Option<ConversationItem>>;

impl Wanted {
    fn of(call: &Call<'_>) -> Result<Self, Problem> {
        let query = call.query()?;
        let by_activity = query.word("sort")? == Some("activity");
        let after = query
            .get("after")
            .map(|text| Cursor::read(text, by_activity));
        let archived = match query.word("archived")? {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        };
        Ok(Self {
            limit: query.limit()?,
            after: after.transpose()?,
            archived,
            by_activity,
            changed_since: query.seq("changed_since")?.map(|since| since.0),
        })
    }

    /// Whether an item of this list is in it as far as that hangs on when it changed. An owner of
    /// the version before does not tell.
    fn takes(&self, item: &ConversationItem) -> bool {
        let changed = item.changed.map(|changed| changed.event.max(changed.own));
        self.changed_since
            .is_none_or(|since| changed.is_none_or(|changed| changed >= since))
    }
}

impl Rest {
    pub(super) async fn list_conversations(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let wanted = Wanted::of(call)?;
        let proven = self.prove_list(call).await?;
        let is_first = wanted.after.is_none();

        // All of it for the first page, which tells how much is unread, or when it is sorted.
        let all = if is_first || wanted.by_activity {
            self.index(call, None, (None, GATHERED_MAX + 1)).await?
        } else {
            (Vec::new(), Freshness::Strict)
        };
        let is_whole = all.0.len() <= GATHERED_MAX;
        if wanted.by_activity && !is_whole {
            let detail = format!(
                "sort=activity is for callers with up to {GATHERED_MAX} conversations; use sort=joined"
            );
            return Err(Problem::new(Code::TooManyConversations, detail).into());
        }

        let chosen = |listed: &Listed| wanted.archived.is_none_or(|is| is == listed.archived);
        let (mut page, of_index) = if wanted.by_activity || is_first && is_whole {
            let chosen = all.0.iter().filter(|listed| chosen(listed));
            (chosen.cloned().collect(), all.1)
        } else {
            let after = wanted.after.and_then(Cursor::joined);
            let more = usize::try_from(wanted.limit).unwrap_or(usize::MAX) + 1;
            self.index(call, after, (wanted.archived, more)).await?
        };
        let mut next = None;
        if !wanted.by_activity {
            next = cut(&mut page, &wanted, |listed| {
                Cursor::Joined(ListPlace {
                    pinned: listed.pinned,
                    version: listed.item.version,
                })
            });
        }

        let counted = if is_first && is_whole { &all.0 } else { &page };
        let asked = if wanted.by_activity { &all.0 } else { counted };
        let (told, of_summaries) = self.told(call, asked).await;
        if wanted.by_activity {
            next = by_activity(&mut page, &wanted, &told);
        }

        let mut answer = shown(&page, &wanted, &told);
        answer.next = next.map(Cursor::write);
        if is_first {
            answer.now = Some(Clock::system().now_ms());
            answer.unread_total = Some(unread_total(&all.0, &told).filter(|_| is_whole));
        }
        let freshness = of_index.stalest(of_summaries).stalest(proven);
        Answer::ok(&answer)?.with_freshness(freshness, call.strict())
    }

    /// A part of the caller's index.
    async fn index(
        &self,
        call: &Call<'_>,
        after: Option<ListPlace>,
        (archived, limit): (Option<bool>, usize),
    ) -> Result<(Vec<Listed>, Freshness), Refusal> {
        let asked = Query::Index {
            user: call.user.clone(),
            after,
            archived,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        };
        match self.query(call, call.user.slot(), asked).await? {
            (Found::Index(items), freshness) => Ok((items, freshness)),
            _ => Err(unexpected("index")),
        }
    }

    /// What the owners of these conversations tell of them.
    async fn told(&self, call: &Call<'_>, of: &[Listed]) -> (Told, Freshness) {
        let names: Vec<_> = of
            .iter()
            .map(|listed| listed.item.conversation.clone())
            .collect();
        if names.is_empty() {
            return (Told::new(), Freshness::Strict);
        }
        let deadline = call
            .deadline
            .checked_sub(SUMMARIES_MARGIN)
            .unwrap_or(call.deadline);
        let (summaries, freshness) = self.shards.summaries(&call.user, &names, deadline).await;
        let told = names
            .into_iter()
            .zip(summaries)
            .filter_map(|(name, told)| Some((name, told.ok()?)));
        (told.collect(), freshness)
    }

    /// Whether the caller's index has everything that was acknowledged before this call. To be
    /// asked before the index is read: what has arrived by then is read, and what had not would
    /// have been told.
    async fn prove_list(&self, call: &Call<'_>) -> Result<Freshness, Refusal> {
        let home = self.shard_of(call.user.slot());
        if !self.shards.owns(home) {
            return Err(Refusal::Elsewhere(home));
        }
        let begun = Instant::now();
        let latest = call.deadline.checked_sub(PROOF_MARGIN).unwrap_or(begun);
        let deadline = if call.strict() {
            latest
        } else {
            latest.min(begun + PROOF_WAIT)
        };
        if self.shards.outboxes_clear(home, deadline).await {
            return Ok(self.proofs.note(home, begun));
        }
        Ok(self.proofs.unproven(home, Instant::now()))
    }
}

/// Cuts a list that may be too long to a page. Returns where the next one begins, if there is one.
fn cut<T>(page: &mut Vec<T>, wanted: &Wanted, place: impl Fn(&T) -> Cursor) -> Option<Cursor> {
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    let more = page.len() > limit;
    page.truncate(limit);
    page.last().map(place).filter(|_| more)
}

/// Sorts by what happened last, what is pinned first, and cuts a page out behind the cursor.
fn by_activity(page: &mut Vec<Listed>, wanted: &Wanted, told: &Told) -> Option<Cursor> {
    let place = |listed: &Listed| {
        let item = told.get(&listed.item.conversation).and_then(Option::as_ref);
        let event = item.and_then(|item| item.changed);
        Place {
            pinned: listed.pinned,
            event: event.map_or(0, |changed| changed.event),
            version: listed.item.version,
        }
    };
    page.sort_by_cached_key(|listed| place(listed).order());
    if let Some(Cursor::Activity(after)) = wanted.after {
        page.retain(|listed| place(listed).order() > after.order());
    }
    cut(page, wanted, |listed| Cursor::Activity(place(listed)))
}

/// Messages unread in all of them; `None` when an owner did not tell.
fn unread_total(all: &[Listed], told: &Told) -> Option<u32> {
    let counts = all.iter().map(|listed| {
        let item = told.get(&listed.item.conversation)?;
        let own = item.as_ref().and_then(|item| item.conversation.own);
        Some(own.map_or(0, |own| own.unread))
    });
    counts.sum()
}

/// The items of a page as clients see them.
fn shown(page: &[Listed], wanted: &Wanted, told: &Told) -> ListPage {
    let mut shown = ListPage::default();
    for Listed { item, .. } in page {
        match told.get(&item.conversation) {
            Some(Some(told)) if wanted.takes(told) => {
                let whole = ConversationItem {
                    changed: None,
                    ..told.clone()
                };
                shown.items.push(ListItem::Whole(Box::new(whole)));
            }
            // It did not change, or they are no participant any more; the index is about to learn
            // that.
            Some(_) => {}
            None => {
                shown.partial = true;
                let partial = PartialItem::of(item.conversation.clone());
                shown.items.push(ListItem::Partial(partial));
            }
        }
    }
    shown
}
