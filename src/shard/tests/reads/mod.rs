//! Reads: own writes are seen at once, whatever the worker does; who may not read learns nothing.

use super::*;

mod pages;
mod strangers;

/// Stands still when asked to: what is committed is not applied.
async fn bench(barrier_max: Duration) -> Bench {
    let bench = Bench::with(Config {
        barrier_max,
        ..config()
    })
    .await;
    bench.create("c", &["alice", "bob"]).await;
    for number in 0..10 {
        bench.send("c", "alice", &format!("applied {number}")).await;
    }
    bench.at_rest().await;
    bench
}

fn pages() -> Vec<Around> {
    let seqs = [0, 1, 2, 5, 11, 12, 15, 20, 21, 30];
    let mut pages = vec![Around::Newest, Around::Oldest];
    for seq in seqs.map(Seq) {
        pages.extend([Around::Before(seq), Around::After(seq), Around::Around(seq)]);
    }
    pages
}

async fn page(bench: &Bench, around: Around, limit: u32, source: Option<UserId>) -> HistoryPage {
    let (conversation, reader) = (conversation("c"), user("bob"));
    let query = HistoryQuery {
        conversation,
        reader,
        around,
        ascending: false,
        limit,
        source,
        reply_to: None,
    };
    match bench.query(Query::History(query)).await {
        Ok(Found::History(page)) => page,
        other => panic!("{other:?}"),
    }
}
