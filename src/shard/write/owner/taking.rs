//! What each input comes to.

use crate::shard::write::owner::Owner;
use crate::shard::write::owner::input::Input;
use crate::shard::write::owner::piece::WorkKind;

impl Owner {
    /// Takes one in.
    #[expect(clippy::too_many_lines, reason = "one arm for each input")]
    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Write(mut asked) => {
                asked.turn = self.parking.turn();
                self.take_write(asked);
            }
            Input::Delivered(marks) => self.take_delivered(marks),
            Input::Begin {
                conversation,
                reader,
                want,
                answer,
            } => {
                self.work(
                    &conversation,
                    WorkKind::Begin {
                        reader,
                        want,
                        answer,
                    },
                );
            }
            Input::Subscribe {
                subscriber,
                conversation,
                user,
                answer,
            } => {
                self.work(
                    &conversation,
                    WorkKind::Subscribe {
                        subscriber,
                        user,
                        answer,
                    },
                );
            }
            Input::Locate { id, answer } => {
                // What is not committed does not exist for anyone yet.
                let committed = self.appenders.messages.committed().offset;
                answer
                    .send(
                        self.messages
                            .committed(id, committed)
                            .map(|message| message.at.clone()),
                    )
                    .ok();
            }
            Input::Tail {
                conversation,
                answer,
            } => drop(answer.send(self.committed_ticket(&conversation))),
            Input::Touched {
                conversations,
                user,
                answer,
            } => {
                answer
                    .send(self.touched(&conversations, user.as_ref()))
                    .ok();
            }
            Input::Unsubscribe(subscriber, interests) => {
                for (conversation, user) in interests {
                    self.subscriptions.remove(subscriber, &conversation, &user);
                }
            }
            Input::SubscribeIndex {
                subscriber,
                user,
                answer,
            } => {
                self.subscriptions.add_index(&subscriber, &user);
                self.user_came(&user);
                let touched = self.index_touched.get(&user).copied().unwrap_or_default();
                answer
                    .send(touched.min(self.appenders.messages.committed().offset))
                    .ok();
            }
            Input::UnsubscribeIndex(subscriber, user) => {
                self.subscriptions.remove_index(subscriber, &user)
            }
            Input::Typing(typing, answer) => self.take_typing(typing, answer),
            Input::Presence { by, users, answer } => {
                answer.send(self.presence_of(by.as_ref(), &users)).ok();
            }
            Input::Unwatch(subscriber, users) => self.presences.unwatch(subscriber, &users),
            Input::Settled(name, answer) => drop(answer.send(self.settled(&name))),
            Input::Refill(name) => self.refill(&name),
            Input::Forget(subscriber) => self.subscriptions.forget(subscriber),
            Input::OutboxDelivered(upto) => {
                self.outbox_progress = self.outbox_progress.max(Some(upto))
            }
            Input::UsedKeys { keys, last } => self.remember_used(&keys, last),
            Input::Committed(answer) => drop(answer.send(self.committed_tails())),
            Input::Hold(told) => self.hold(told),
            Input::Release => self.release(),
            Input::Given(answer) => drop(answer.send(self.give_up())),
            Input::Close => {
                self.closing = true;
                // Surely not written; whoever owns the shard next may be asked.
                self.parking.clear();
            }
            Input::Taken => {
                // What this means, whoever opens the shard next says: another node that it has
                // taken it over, this one that the log has lost it.
                tracing::info!(shard = %self.setup.shard, "the shard is no longer owned here by the log; it ends here");
                (self.closing, self.taken) = (true, true);
            }
            Input::Unfit(why) => {
                tracing::warn!(shard = %self.setup.shard, ?why, "this replica is no longer fit to own the shard; it ends here");
                (self.closing, self.taken) = (true, true);
            }
            #[cfg(test)]
            Input::Waiting(answer) => {
                answer
                    .send(self.appenders.messages.waiting() + self.appenders.receipts.waiting())
                    .ok();
            }
            #[cfg(test)]
            Input::Parked(answer) => {
                answer.send(self.parking.len()).ok();
            }
            #[cfg(test)]
            Input::Heads(answer) => {
                answer.send(self.conversations.len()).ok();
            }
        }
    }
}
