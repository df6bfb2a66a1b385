//! Which table a router follows.

use super::*;
use crate::cluster::table::follow::FALLEN_AFTER;
use crate::ids::Slot;

#[tokio::test(start_paused = true)]
async fn a_lower_version_is_followed_when_it_stands_and_another_clusters_table_never() {
    let shelf = Arc::new(Shelf::default());
    let (one, two) = (nowhere().await, nowhere().await);
    shelf.put(table(5, &[one]));

    let stop = CancellationToken::new();
    let directory = Directory::follow(
        Arc::<Shelf>::clone(&shelf),
        Duration::from_millis(1),
        stop.clone(),
    );

    let next_load = async || {
        let before = shelf.loads.load(Ordering::SeqCst);
        // Two more: the first may have read what was there before.
        timeout(PATIENCE, async {
            while shelf.loads.load(Ordering::SeqCst) < before + 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("polls go on");
        let nodes = directory.candidates(Slot(0));
        nodes
            .into_iter()
            .map(|node| node.0.to_string())
            .collect::<Vec<_>>()
    };

    assert_eq!(next_load().await, [one.to_string()]);
    shelf.put(table(4, &[two]));
    assert_eq!(next_load().await, [one.to_string()]);

    let mut foreign = table(9, &[two]).unwrap();
    foreign.identity.cluster = ClusterId(Uuid::from_u128(2));
    shelf.put(Some(foreign));
    assert_eq!(next_load().await, [one.to_string()]);

    shelf.put(None);
    assert_eq!(next_load().await, [one.to_string()]);

    shelf.put(table(6, &[two, one]));
    assert_eq!(next_load().await, [two.to_string(), one.to_string()]);

    directory.hint(40);
    shelf.put(table(4, &[one]));
    assert_eq!(next_load().await, [two.to_string(), one.to_string()]);

    tokio::time::sleep(FALLEN_AFTER).await;
    assert_eq!(
        next_load().await,
        [one.to_string()],
        "it fell back, and stands"
    );
    stop.cancel();
}
