//! Requests that concern many shards: one to each owning node, side by side, and again for what is
//! left, within one budget.

use std::collections::HashMap;
use std::time::Instant;

use futures_util::future::join_all;

use crate::ids::ShardId;
use crate::node::link::frame::{Body, Outcome};
use crate::node::owners::Owners;
use crate::node::owners::attempt::{BACKOFF, unavailable};
use crate::node::owners::route::{Missed, Route};
use crate::problem::Problem;
use crate::shard::command::ShardError;

/// Items in one request, so that its answer fits a frame. More go in further requests, side by
/// side.
const ITEMS_PER_REQUEST: usize = 256;

/// Places of items in the caller's list, by shard.
type Places = Vec<(ShardId, Vec<usize>)>;

/// One answer for each part of a request, and in it one for each item.
type Parts<R> = Vec<Result<Vec<R>, ShardError>>;

impl Owners {
    /// Asks for every item at the owner of its shard. In the order of `items`; an item whose owner
    /// did not answer by the deadline is an error. Only for requests that may be repeated.
    pub(super) async fn in_rounds<T: Clone, R>(
        &self,
        items: Vec<(ShardId, T)>,
        deadline: Instant,
        build: impl Fn(Vec<(ShardId, Vec<T>)>) -> Body,
        unpack: impl Fn(Outcome) -> Option<Parts<R>>,
    ) -> Vec<Result<R, Problem>> {
        let mut results: Vec<Option<Result<R, Problem>>> = items.iter().map(|_| None).collect();
        let mut pauses = BACKOFF.pauses();
        loop {
            let version = self.table().version;
            let open = items
                .iter()
                .zip(&results)
                .enumerate()
                .filter(|(_, (_, result))| result.is_none());
            let requests = self.requests(open.map(|(place, ((shard, _), _))| (*shard, place)));
            let sent = requests.into_iter().map(|(route, places)| {
                let parts = places.iter().map(|(shard, of)| {
                    let wanted = of
                        .iter()
                        .filter_map(|&place| items.get(place))
                        .map(|(_, item)| item.clone());
                    (*shard, wanted.collect())
                });
                let body = build(parts.collect());
                let answer = self.send(&route, &body, deadline);
                async move { (route, places, body, answer.await) }
            });
            for (route, places, body, answer) in join_all(sent.collect::<Vec<_>>()).await {
                match answer.map(&unpack) {
                    Ok(Some(parts)) => {
                        let served = fill(&mut results, &places, parts);
                        self.note_answered(&body, &served, &route);
                    }
                    Ok(None) => refuse(&mut results, &places, &unavailable()),
                    Err(Missed::Refused(problem)) => refuse(&mut results, &places, &problem),
                    Err(Missed::NotServed | Missed::Lost) => {}
                }
            }
            if results.iter().all(Option::is_some)
                || !self.pause(&mut pauses, version, deadline).await
            {
                break;
            }
        }

        results
            .into_iter()
            .map(|result| result.unwrap_or_else(|| Err(unavailable())))
            .collect()
    }

    /// Groups items by owning node, then by shard, in requests of bounded size.
    fn requests(&self, items: impl Iterator<Item = (ShardId, usize)>) -> Vec<(Route, Places)> {
        let mut by_shard: HashMap<ShardId, Vec<usize>> = HashMap::new();
        for (shard, place) in items {
            by_shard.entry(shard).or_default().push(place);
        }

        let mut filling: HashMap<Route, (usize, Places)> = HashMap::new();
        let mut requests = Vec::new();
        for (shard, places) in by_shard {
            let route = self.route(shard);
            for some in places.chunks(ITEMS_PER_REQUEST) {
                let (count, parts) = filling.entry(route.clone()).or_default();
                if *count > 0 && *count + some.len() > ITEMS_PER_REQUEST {
                    requests.push((route.clone(), std::mem::take(parts)));
                    *count = 0;
                }
                *count += some.len();
                parts.push((shard, some.to_vec()));
            }
        }

        requests.extend(
            filling
                .into_iter()
                .map(|(route, (_, parts))| (route, parts)),
        );
        requests
    }
}

/// Puts the answers of a request in their places; returns the shards that served it. What a node
/// does not own is left open.
fn fill<R>(
    results: &mut [Option<Result<R, Problem>>],
    places: &Places,
    parts: Parts<R>,
) -> Vec<ShardId> {
    let mut served = Vec::new();
    for ((shard, of), part) in places.iter().zip(parts) {
        match part {
            Ok(items) => {
                served.push(*shard);
                for (place, item) in of.iter().zip(items) {
                    put(results, *place, Ok(item));
                }
            }
            Err(ShardError::Problem(problem)) => of
                .iter()
                .for_each(|place| put(results, *place, Err(problem.clone()))),
            Err(ShardError::NotOwner) => {}
        }
    }

    served
}

fn refuse<R>(results: &mut [Option<Result<R, Problem>>], places: &Places, problem: &Problem) {
    for place in places.iter().flat_map(|(_, of)| of) {
        put(results, *place, Err(problem.clone()));
    }
}

fn put<R>(results: &mut [Option<Result<R, Problem>>], place: usize, result: Result<R, Problem>) {
    if let Some(slot) = results.get_mut(place) {
        *slot = Some(result);
    }
}
