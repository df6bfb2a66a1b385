//! What a shard of a test is asked, and what it answers.

use super::*;

impl Bench {
    pub(super) async fn create(&self, name: &str, users: &[&str]) -> Conversation {
        match in_time(self.execute(create(name, users))).await {
            Ok(Done::Created { conversation, .. }) => conversation,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn send(&self, name: &str, source: &str, text: &str) -> Message {
        sent(in_time(self.execute(send(name, source, text))).await)
    }

    pub(super) async fn add(
        &self,
        name: &str,
        by: &str,
        users: &[&str],
    ) -> Result<Done, ShardError> {
        in_time(self.execute(add(name, by, users))).await
    }

    pub(super) async fn remove(
        &self,
        name: &str,
        by: &str,
        whom: &str,
    ) -> Result<Done, ShardError> {
        in_time(self.execute(remove(name, by, whom))).await
    }

    pub(super) async fn query(&self, query: Query) -> Result<Found, ShardError> {
        in_time(self.handle().query(query, soon()))
            .await
            .map(|(found, _)| found)
    }

    pub(super) async fn view(&self, name: &str, reader: &str) -> Result<Conversation, ShardError> {
        match self
            .query(Query::Conversation {
                name: conversation(name),
                reader: user(reader),
            })
            .await?
        {
            Found::Conversation(conversation) => Ok(conversation),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn history(
        &self,
        name: &str,
        reader: &str,
        around: Around,
        limit: u32,
    ) -> Result<HistoryPage, ShardError> {
        let query = HistoryQuery {
            conversation: conversation(name),
            reader: user(reader),
            around,
            ascending: true,
            limit,
            source: None,
            reply_to: None,
        };
        match self.query(Query::History(query)).await? {
            Found::History(page) => Ok(page),
            other => panic!("{other:?}"),
        }
    }

    /// The newest message.
    pub(super) async fn newest(&self, name: &str, reader: &str) -> MessageId {
        let page = self.history(name, reader, Around::Newest, 1).await;
        page.expect("reads").items[0].core.id
    }

    pub(super) async fn texts(&self, name: &str, reader: &str) -> Vec<String> {
        let page = self
            .history(name, reader, Around::Newest, 200)
            .await
            .expect("reads");
        page.items
            .into_iter()
            .map(|message| message.core.text)
            .collect()
    }

    /// Every event from the first on.
    pub(super) async fn events(&self, name: &str, reader: &str) -> Vec<Arc<Event>> {
        let mut all: Vec<Arc<Event>> = Vec::new();
        loop {
            let after = all.last().map_or(Seq(0), |event| event.seq);
            let query = Query::Events {
                name: conversation(name),
                reader: user(reader),
                after,
                limit: 7,
            };
            let Ok(Found::Events { items, next, .. }) = self.query(query).await else {
                panic!("no events")
            };
            all.extend(items);
            if next.is_none() {
                assert_dense(&all, Seq(1));
                return all;
            }
        }
    }

    pub(super) async fn interest(
        &self,
        subscriber: &Subscriber,
        name: &str,
        who: &str,
        after: Option<u64>,
    ) -> Subscribed {
        let interest = Interest {
            conversation: conversation(name),
            user: user(who),
            after: after.map(Seq),
            limit: 1000,
            since: None,
        };
        in_time(self.handle().subscribe(subscriber, vec![interest], soon()))
            .await
            .expect("owned")
            .remove(0)
    }

    /// Reads, with its mark.
    pub(super) async fn read(&self, query: Query) -> Result<(Found, Freshness), ShardError> {
        in_time(self.handle().query(query, soon())).await
    }
}
