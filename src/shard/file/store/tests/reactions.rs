//! Who reacted to a message, by pages.

use super::*;
use crate::protocol::Reaction;

fn reaction(who: &str, reaction: u32) -> Reaction {
    Reaction {
        user: user(who),
        reaction,
        ts: START,
    }
}

#[tokio::test]
async fn reactions_are_paged_by_name_each_as_it_is_now_and_of_that_message_alone() {
    let folder = folder();
    let messages = [
        created("c", &["alice", "bob", "carol", "Zoe"], START),
        message("c", 2, "alice", 1, START),
        message("c", 3, "alice", 2, START),
        left("c", 4, "carol", "carol", None),
    ];
    let reactions = [
        react("c", 1, "carol", Some(3)),
        react("c", 1, "bob", Some(1)),
        react("c", 1, "Zoe", Some(4)),
        react("c", 1, "alice", Some(5)),
        react("c", 2, "alice", Some(6)),
        react("c", 1, "bob", Some(2)),
        react("c", 1, "alice", None),
    ];
    let store = one(folder.path(), &messages, &reactions).await;
    let page = async |number, after: Option<&str>, limit| {
        let after = after.map(user);
        store
            .reactions_page(id(number), after.as_ref(), limit)
            .await
            .expect("reads")
    };

    let all = [reaction("Zoe", 4), reaction("bob", 2), reaction("carol", 3)];
    assert_eq!(page(1, None, 9).await, all, "those who have left included");
    assert_eq!(page(1, None, 2).await, all[..2]);
    assert_eq!(page(1, Some("Zoe"), 1).await, all[1..2]);
    assert_eq!(page(1, Some("bob"), 9).await, all[2..]);
    assert_eq!(page(1, Some("by"), 9).await, all[2..], "nobody's name");
    assert_eq!(page(1, Some("carol"), 9).await, []);
    assert_eq!(page(2, None, 9).await, [reaction("alice", 6)]);
    assert_eq!(page(7, None, 9).await, [], "no such message");
}
