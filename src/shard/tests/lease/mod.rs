//! The read lease: what is proven, what is marked, and how a shard that was taken ends.

use super::*;

mod reads;
mod taken;

const T: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_millis(2_700);

/// A shard that another node could take, with a conversation of which everything is applied.
async fn leased() -> Bench {
    let bench = Bench::with(Config {
        takeover_watch: Some(T),
        ..config()
    })
    .await;
    bench.create("c", &["alice", "bob"]).await;
    bench.send("c", "alice", "first").await;
    bench.at_rest().await;
    bench
}

fn history(reader: &str) -> Query {
    Query::History(HistoryQuery {
        conversation: conversation("c"),
        reader: user(reader),
        around: Around::Newest,
        ascending: true,
        limit: 100,
        source: None,
        reply_to: None,
    })
}

fn view(reader: &str) -> Query {
    Query::Conversation {
        name: conversation("c"),
        reader: user(reader),
    }
}

fn summaries() -> Query {
    Query::Summaries {
        names: vec![conversation("c")],
        reader: user("bob"),
    }
}

fn last_message(found: Found) -> String {
    match found {
        Found::Summaries(mut items) => {
            let item = items.remove(0).expect("an item");
            item.last_message.expect("one").core.text
        }
        other => panic!("{other:?}"),
    }
}
