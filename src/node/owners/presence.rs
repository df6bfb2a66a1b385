//! Who is online: asked of the owners of the users' shards.

use std::collections::HashMap;
use std::time::Instant;

use futures_util::FutureExt;

use crate::ids::{Epoch, ShardId, UserId};
use crate::node::link::Serving;
use crate::node::link::frame::{Body, Outcome};
use crate::node::owners::Owners;
use crate::node::owners::local::LocalShards;
use crate::node::owners::route::Route;
use crate::problem::Problem;
use crate::protocol::Presence;
use crate::shard::command::Watched;
use crate::shard::write::subscriptions::{Subscriber, SubscriberId};

impl Owners {
    /// How users are, with one request per owning node, side by side; in the order given, each with
    /// the epoch of the owner that says so. With `watch` this node is pushed what changes, until
    /// [`Owners::unwatch`].
    pub(crate) async fn presence(
        &self,
        users: Vec<Watched>,
        watch: bool,
        deadline: Instant,
    ) -> Vec<Result<(Epoch, Presence), Problem>> {
        let items = users
            .into_iter()
            .map(|watched| (self.map().shard_of(watched.user.slot()), watched))
            .collect();
        let build = |parts| Body::Presence { parts, watch };

        let unpack = |outcome| match outcome {
            Outcome::Present(parts) => {
                let each = parts.into_iter().map(|part| {
                    part.map(|present| {
                        present
                            .users
                            .into_iter()
                            .map(|one| (present.epoch, one))
                            .collect()
                    })
                });
                Some(each.collect())
            }
            _ => None,
        };
        self.in_rounds(items, deadline, build, unpack).await
    }

    /// These users are watched here no more. What cannot be told to the owner now is not: the owner
    /// forgets this node when the link ends.
    pub(crate) fn unwatch(&self, users: Vec<UserId>) {
        let mut by_route: HashMap<Route, HashMap<ShardId, Vec<_>>> = HashMap::new();
        for user in users {
            let shard = self.map().shard_of(user.slot());
            by_route
                .entry(self.route(shard))
                .or_default()
                .entry(shard)
                .or_default()
                .push(user);
        }

        for (route, parts) in by_route {
            self.tell(
                &route,
                Body::Unwatch {
                    parts: parts.into_iter().collect(),
                },
            );
        }
    }
}

impl LocalShards {
    /// How users of shards here are; with `by` that node is told from now on when it changes.
    pub(super) fn serve_presence(
        &self,
        parts: Vec<(ShardId, Vec<Watched>)>,
        by: Option<Subscriber>,
        deadline: Instant,
    ) -> Serving {
        let answers = self.each(parts, move |handle, users| {
            let by = by.clone();
            async move { handle.presence(by, users, deadline).await }
        });
        async move { Ok(Outcome::Present(answers.await)) }.boxed()
    }

    /// A node watches these users no more.
    pub(super) fn serve_unwatch(&self, parts: Vec<(ShardId, Vec<UserId>)>, by: SubscriberId) {
        for (shard, users) in parts {
            if let Some(handle) = self.get(shard) {
                handle.unwatch(by, users);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::ConversationName;
    use crate::link::Config;
    use crate::node::owners::testing::{Fake, Pair, soon};
    use crate::problem::Code;
    use crate::shard::command::{Command, Done, Present, Push, Typing};

    fn bob() -> UserId {
        UserId::parse("bob").expect("a name")
    }

    fn typing() -> Typing {
        Typing {
            conversation: ConversationName::parse("c").expect("a name"),
            user: bob(),
            on: true,
        }
    }

    #[tokio::test]
    #[expect(
        clippy::too_many_lines,
        reason = "one story, told from its beginning to its end"
    )]
    async fn a_node_of_the_version_before_is_told_nothing_that_it_does_not_know_and_its_link_lives()
    {
        for (newest, knows) in [(6, false), (7, true)] {
            let fake = Fake::new(|body| match body {
                Body::Presence { parts, .. } => {
                    let of = |watched: &Watched| Presence {
                        user: watched.user.clone(),
                        online: true,
                        last_seen: None,
                    };
                    let each = parts.iter().map(|(_, users)| {
                        Ok(Present {
                            epoch: Epoch(3),
                            users: users.iter().map(of).collect(),
                        })
                    });
                    Ok(Outcome::Present(each.collect()))
                }
                _ => Ok(Outcome::Done(Done::Marked)),
            });
            let mut pair = Pair::of(
                &fake,
                (
                    Config {
                        newest,
                        ..Config::default()
                    },
                    Config::default(),
                ),
            )
            .await;
            let shard = pair.owners.map().shard_of(bob().slot());
            pair.owners
                .execute(shard, Command::Delivered(Vec::new()), soon())
                .await
                .expect("an answer");
            let subscriber = fake.subscribers.lock().expect("not poisoned")[0].clone();
            let Typing {
                conversation, user, ..
            } = typing();
            subscriber.push(Push::Typing {
                conversation,
                user,
                until: 1,
            });
            subscriber.push(Push::Resubscribe { shard });
            let first = pair.pushed.recv().await.expect("a push");
            assert_eq!(matches!(first, Push::Typing { .. }), knows, "{first:?}");

            let end = Instant::now() + Duration::from_millis(300);
            let typed = pair
                .owners
                .execute(
                    shard,
                    Command::Typing(typing()),
                    if knows { soon() } else { end },
                )
                .await;
            assert_eq!(
                typed.map(drop).map_err(|problem| problem.code),
                if knows {
                    Ok(())
                } else {
                    Err(Code::Unavailable)
                }
            );
            let watched = Watched {
                user: bob(),
                online: None,
            };
            let until = if knows {
                soon()
            } else {
                Instant::now() + Duration::from_millis(300)
            };
            let told = pair.owners.presence(vec![watched], true, until).await;
            assert_eq!(
                told[0]
                    .as_ref()
                    .is_ok_and(|(epoch, one)| *epoch == Epoch(3) && one.online),
                knows
            );
        }
    }
}
