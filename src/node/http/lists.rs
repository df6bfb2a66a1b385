//! The list of the caller's conversations. It goes by the caller: this node must own their shard.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::ids::ConversationName;
use crate::node::http::answer::{Answer, Refusal, unexpected};
use crate::node::http::list_cursor::{Cursor, Place};
use crate::node::http::request::Call;
use crate::node::http::rest::Rest;
use crate::node::link::frame::SummaryLength;
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

    /// Whether a conversation is in the list as far as that hangs on whether it was put away.
    fn chooses(&self, listed: &Listed) -> bool {
        self.archived.is_none_or(|is| is == listed.archived)
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
        let all = self.all_of_list(call, &wanted).await?;

        let (mut page, of_index) = match &all {
            Some((all, freshness)) => {
                let chosen = all.iter().filter(|listed| wanted.chooses(listed));
                (chosen.cloned().collect(), *freshness)
            }
            None => self.page_of_list(call, &wanted).await?,
        };
        let all = all.map(|(all, _)| all);
        let mut next = None;
        if !wanted.by_activity {
            next = cut(&mut page, &wanted, |listed| Cursor::Joined(listed.place()));
        }

        // What is not shown is told without its last message: two thousand of those may be large.
        let rest = rest_of(all.as_deref().unwrap_or_default(), &page, &wanted);
        let (mut told, of_rest) = self.told(call, &rest, SummaryLength::Brief).await;
        if wanted.by_activity {
            next = by_activity(&mut page, &wanted, &told);
        }
        let (of_page, of_shown) = self.told(call, &page, SummaryLength::Whole).await;

        let mut answer = shown(&page, &wanted, &of_page);
        answer.next = next.map(Cursor::write);
        if wanted.after.is_none() {
            told.extend(of_page);
            answer.now = Some(Clock::system().now_ms());
            answer.unread_total = Some(all.and_then(|all| unread_total(&all, &told)));
        }
        let freshness = [of_index, of_rest, of_shown, proven];
        let stalest = freshness.into_iter().fold(proven, Freshness::stalest);
        Answer::ok(&answer)?.with_freshness(stalest, call.strict())
    }

    /// All of the caller's list, where it is needed: for the first page, which tells how much is
    /// unread, and to sort it by what happened. `None` where it is not needed, or is too long.
    async fn all_of_list(
        &self,
        call: &Call<'_>,
        wanted: &Wanted,
    ) -> Result<Option<(Vec<Listed>, Freshness)>, Refusal> {
        if wanted.after.is_some() && !wanted.by_activity {
            return Ok(None);
        }
        let all = self.index(call, None, (None, GATHERED_MAX + 1)).await?;
        if all.0.len() <= GATHERED_MAX {
            return Ok(Some(all));
        }
        if wanted.by_activity {
            let detail = format!(
                "sort=activity is for callers with up to {GATHERED_MAX} conversations; use sort=joined"
            );
            return Err(Problem::new(Code::TooManyConversations, detail).into());
        }
        Ok(None)
    }

    /// A page in the order of joining, and one item more where there is one.
    async fn page_of_list(
        &self,
        call: &Call<'_>,
        wanted: &Wanted,
    ) -> Result<(Vec<Listed>, Freshness), Refusal> {
        let after = wanted.after.and_then(Cursor::joined);
        let more = usize::try_from(wanted.limit).unwrap_or(usize::MAX) + 1;
        self.index(call, after, (wanted.archived, more)).await
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
    async fn told(
        &self,
        call: &Call<'_>,
        of: &[Listed],
        length: SummaryLength,
    ) -> (Told, Freshness) {
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
        let asked = (names.as_slice(), length);
        let (summaries, freshness) = self.shards.summaries(&call.user, asked, deadline).await;
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

/// What is asked beside a page: all else to count it, or all to sort it first.
fn rest_of(all: &[Listed], page: &[Listed], wanted: &Wanted) -> Vec<Listed> {
    if wanted.by_activity {
        return all.to_vec();
    }
    let name = |listed: &Listed| listed.item.conversation.clone();
    let shown: HashSet<_> = page.iter().map(name).collect();
    let rest = all.iter().filter(|listed| !shown.contains(&name(listed)));
    rest.cloned().collect()
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
