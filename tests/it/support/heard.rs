//! Whether another server has what people who talked were told.
#![allow(
    dead_code,
    reason = "compiled for every test target; each uses its part of it"
)]

use serde_json::{Value, json};

use crate::support::server::Server;
use crate::support::socket::Socket;
use crate::support::talk::{GROUPS, Heard, Talk, edit_again};
use crate::support::{Fields, eventually};

impl Talk {
    /// Compares what another server has with what was heard: each message once, in order, under its
    /// id and seq; people, lists, receipts, reactions and keys; it goes on without a hole; and
    /// whoever resumes hears all or a truthful gap.
    pub(crate) async fn is_in(&self, server: &Server, heard: &Heard) {
        for at in 0..GROUPS {
            let events = self.history_is_in(server, heard, at).await;
            self.receipts_are_in(server, at).await;
            self.changed_are_in(server, at).await;
            self.people_are_in(server, at).await;
            self.goes_on_in(server, heard, at, events).await;
        }
    }

    async fn history_is_in(&self, server: &Server, heard: &Heard, at: usize) -> u64 {
        let group = &self.groups[at];
        let reader = server.client(group.admin.user());

        // Whoever has just started may still open a shard.
        eventually("the group is served", || async {
            (reader.get(&group.path("/messages?limit=1")).await.status == 200).then_some(())
        })
        .await;

        let events = reader.all_events(&group.name).await;
        for sent in heard.0.iter().filter(|sent| sent.group == at) {
            let found: Vec<&Value> = events
                .iter()
                .filter(|event| event["text"] == json!(sent.key))
                .collect();
            let [event] = found[..] else {
                panic!("{sent:?} is there {} times", found.len())
            };
            assert_eq!(
                (event.text("id"), event.number("seq")),
                (&*sent.id, sent.seq)
            );
            let shown = reader
                .get(&format!("/v1/messages/{}", sent.id))
                .await
                .expect(200);
            assert_eq!(shown["text"], json!(sent.key), "its id leads to it");
        }

        events.len() as u64
    }

    async fn receipts_are_in(&self, server: &Server, at: usize) {
        let (group, message) = (&self.groups[at], &self.marked[at]);
        let reader = server.client(group.admin.user());
        let receipt = reader
            .receipt_of(message, group.members[1].user())
            .await
            .expect("a receipt");
        assert_eq!(
            (&receipt["read"], &receipt["reaction"]),
            (&json!(true), &json!(128_077))
        );

        let path = format!("/v1/messages/{}/reactions", message.text("id"));
        let page = reader.get(&path).await.expect(200);
        let of = |item: &Value| (item.text("user").to_owned(), item.number("reaction"));
        let items: Vec<_> = page.list("items").iter().map(of).collect();
        assert_eq!(items, [(group.members[1].user().to_owned(), 128_077)]);
    }

    async fn changed_are_in(&self, server: &Server, at: usize) {
        let (group, [edited, deleted]) = (&self.groups[at], &self.changed[at]);
        let admin = server.client(group.admin.user());
        for message in [edited, deleted] {
            let shown = admin
                .get(&format!("/v1/messages/{}", message.text("id")))
                .await
                .expect(200);
            assert_eq!(&shown, message);
        }
        // Whoever has just started may not know of all nodes yet.
        let again = eventually("edits are taken", || async {
            let answer = edit_again(&admin, edited).await;
            (answer.status == 200).then(|| answer.json())
        });
        assert_eq!(&again.await, edited, "its key is known");
    }

    async fn people_are_in(&self, server: &Server, at: usize) {
        let (group, gone) = (&self.groups[at], server.client(self.gone[at].user()));
        let one = server
            .client(group.admin.user())
            .get(&group.path(""))
            .await
            .expect(200);
        assert_eq!(
            (one.number("participants_count"), one.text("admin")),
            (3, group.admin.user())
        );

        gone.post(&group.path("/messages"), &json!({"text": "x"}))
            .await
            .refused(403, "not_participant");
        for (client, is_in) in [
            (&server.client(group.members[0].user()), true),
            (&gone, false),
        ] {
            let list = client.get("/v1/conversations").await.expect(200);
            let names: Vec<&str> = list
                .list("items")
                .iter()
                .map(|item| item.text("name"))
                .collect();
            assert_eq!(
                names.contains(&&*group.name),
                is_in,
                "the list of {}: {list}",
                client.user()
            );
        }
    }

    async fn goes_on_in(&self, server: &Server, heard: &Heard, at: usize, events: u64) {
        let group = &self.groups[at];
        let sent = heard.0.iter().rfind(|sent| sent.group == at).expect("some");
        let number: usize = sent.key.rsplit('-').next().unwrap().parse().unwrap();
        let again = server.client(group.members[number % 2].user());
        let again = again
            .post_with_key(
                &group.path("/messages"),
                &json!({"text": sent.key}),
                &sent.key,
            )
            .await
            .expect(200);
        assert_eq!(
            (again.text("id"), again.number("seq")),
            (&*sent.id, sent.seq),
            "its key is known"
        );

        let reader = group.members[1].user();
        let mut behind = Socket::open_at(server, reader, "/v1/ws?resume=wait").await;
        behind
            .send(&json!({"t": "resume", "positions": {&group.name: sent.seq - 1}}))
            .await;
        let mut ahead = Socket::open_at(server, reader, "/v1/ws?resume=wait").await;
        ahead
            .send(&json!({"t": "resume", "positions": {&group.name: events + 7}}))
            .await;
        for socket in [&mut behind, &mut ahead] {
            socket.until_t("ready").await;
        }
        let gaps = |socket: &Socket| {
            socket
                .frames
                .iter()
                .filter(|frame| frame["t"] == "gap")
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(gaps(&behind), [] as [Value; 0]);
        assert_eq!(
            behind.seqs(&group.name),
            (sent.seq..=events).collect::<Vec<u64>>()
        );
        let told = gaps(&ahead);
        let [gap] = &told[..] else {
            panic!("one gap: {told:?}")
        };
        assert_eq!(
            (gap.text("reason"), gap.number("from"), gap.number("to")),
            ("replaced", events + 1, events + 7)
        );

        let next = server
            .client(group.admin.user())
            .say(&group.name, "after the restore")
            .await;
        assert_eq!(next.number("seq"), events + 1);
        for socket in [&mut behind, &mut ahead] {
            socket.until_seq(&group.name, events + 1).await;
        }
    }
}
