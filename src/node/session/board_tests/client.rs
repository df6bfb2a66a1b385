//! What one session was sent, checked as it comes.

use super::*;

/// What one session was sent, checked as it comes.
pub(super) struct Client {
    pub(super) session: Arc<Session>,
    pub(super) user: UserId,
    /// Per conversation the last seq seen, if it is in it.
    pub(super) seen: HashMap<ConversationName, Seq>,
    /// After the own `left` only a start right before an own `joined` is allowed.
    pub(super) out: HashMap<ConversationName, Seq>,
    /// What is neither `seen` nor `out`, and how far the conversation was when the session was told
    /// so, by `ready` or by a gap: of a membership that begins later something has to be told.
    pub(super) strange: HashMap<ConversationName, Seq>,
    pub(super) ready: usize,
    /// It waits for its resume.
    pub(super) held: bool,
    /// What it resumed, while no cursor is set: a router says it again to another node.
    pub(super) unplaced: Option<BTreeMap<ConversationName, Seq>>,
}

/// Has a session resume. What is to be said again while no cursor is set.
pub(super) fn resumed(
    board: &mut Board,
    id: SessionId,
    positions: BTreeMap<ConversationName, Seq>,
) -> Option<BTreeMap<ConversationName, Seq>> {
    (board.resume(id, positions.clone(), false) == Resumed::Later).then_some(positions)
}

impl Client {
    pub(super) fn take(&mut self, owners: &Owners) -> Result<(), TestCaseError> {
        for frame in frames(&self.session) {
            let name = |field: &str| {
                ConversationName::parse(frame[field].as_str().expect("a name")).expect("a name")
            };
            match frame["t"].as_str().expect("t") {
                "message" | "event" => {
                    let (name, seq) = (
                        name("conversation"),
                        Seq(frame["seq"].as_u64().expect("seq")),
                    );
                    if let Some(left) = self.out.remove(&name) {
                        // In again, they may also get what lies between: members read the whole
                        // history. No membership is passed over.
                        let again = owners.joined_after(&name, &self.user, left);
                        prop_assert!(again.is_some(), "{frame} after own left {left}");
                        prop_assert!(
                            again == Some(seq) || seq == left.next(),
                            "{frame} after own left {left}, in {again:?}"
                        );
                    } else if let Some(seen) = self.seen.get(&name) {
                        prop_assert_eq!(seq, seen.next(), "{} does not continue {}", frame, seen);
                    } else if let Some(strange) = self.strange.remove(&name) {
                        let joined = owners.joined_after(&name, &self.user, strange);
                        prop_assert!(
                            joined.is_none_or(|at| seq <= at),
                            "{frame}, and in already at {joined:?}"
                        );
                    }
                    self.seen.insert(name.clone(), seq);
                    let has_left = frame["kind"] == "left" && frame["user"] == self.user.as_str();
                    if has_left || frame["kind"] == "closed" {
                        self.seen.remove(&name);
                        self.out.insert(name, seq);
                    }
                }
                "gap" => {
                    let (name, to) = (name("conversation"), Seq(frame["to"].as_u64().expect("to")));
                    let from = Seq(frame["from"].as_u64().expect("from"));
                    self.out.remove(&name);
                    self.strange.remove(&name);
                    match frame["reason"].as_str().expect("reason") {
                        "replaced" => drop(self.seen.insert(name, Seq(from.0 - 1))),
                        "not_participant" => {
                            self.seen.remove(&name);
                            let tail = owners.tail(&name);
                            self.strange.insert(name, tail);
                        }
                        _ => drop(self.seen.insert(name, to)),
                    }
                }
                "ready" => {
                    self.ready += 1;
                    self.begin(owners);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Told `ready` for the first time: of other conversations it knows that its user was in none
    /// of them before now.
    fn begin(&mut self, owners: &Owners) {
        for name in (0..CONVERSATIONS.len())
            .map(conversation)
            .filter(|_| self.ready == 1)
        {
            if !self.seen.contains_key(&name) && !self.out.contains_key(&name) {
                let tail = owners.tail(&name);
                self.strange.entry(name).or_insert(tail);
            }
        }
    }

    /// At rest: no membership began since it was told last that its user is out.
    pub(super) fn missed(&self, owners: &Owners, name: &ConversationName) -> Option<Seq> {
        let told = self.out.get(name).or_else(|| self.strange.get(name))?;
        owners.joined_after(name, &self.user, *told)
    }
}
