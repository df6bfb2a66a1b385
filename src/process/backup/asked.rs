//! What a backup asks of operations ports, and what becomes of an answer.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, StatusCode};

use crate::clock::Clock;
use crate::link::proof::ClusterKey;
use crate::operations::control::proof_of;
use crate::process::cluster::call::{Place, call};

/// Why there is no answer of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missed {
    /// May pass: somebody is asked again. One sentence.
    Again(String),
    /// The copy that was begun is not kept any more.
    Gone(String),
    /// It will not pass. One sentence.
    Never(String),
}

/// The operations ports of what is copied, and its key.
#[derive(Debug)]
pub(super) struct Ports {
    places: Vec<Place>,
    /// Which of them answered last.
    turn: AtomicUsize,
    key: ClusterKey,
}

impl Ports {
    /// At least one place.
    pub(super) fn new(places: Vec<Place>, key: ClusterKey) -> Self {
        Self {
            places,
            turn: AtomicUsize::new(0),
            key,
        }
    }

    /// Asks the port that answered last, or the next one that can be reached.
    pub(super) async fn ask(&self, method: Method, path: &str) -> Result<Vec<u8>, Missed> {
        let mut unreached = Vec::new();
        for _ in &self.places {
            let turn = self.turn.load(Ordering::Relaxed);
            let Some(place) = self.places.get(turn % self.places.len()) else {
                break;
            };
            let proof = proof_of(&self.key, &method, path, Clock::system().now_ms());
            match call(place, &method, path, Some(&proof)).await {
                Ok((status, said)) => return self.judge(place, status, said),
                Err(why) => {
                    self.turn.fetch_add(1, Ordering::Relaxed);
                    unreached.push(format!("{place}: {why}"));
                }
            }
        }

        Err(Missed::Again(format!(
            "no operations port answers; {}",
            unreached.join("; ")
        )))
    }

    /// What an answer is worth.
    fn judge(&self, place: &Place, status: StatusCode, said: Vec<u8>) -> Result<Vec<u8>, Missed> {
        if status == StatusCode::OK {
            return Ok(said);
        }

        let words = String::from_utf8_lossy(&said);
        let why = format!("{place} answers {status}: {}", words.trim_end());

        Err(match status {
            StatusCode::GONE => Missed::Gone(why),
            StatusCode::SERVICE_UNAVAILABLE => {
                // One that is no node, has not begun, or ends.
                self.turn.fetch_add(1, Ordering::Relaxed);
                Missed::Again(why)
            }
            StatusCode::NOT_FOUND => {
                Missed::Never(format!("{why}; is it a version before backups?"))
            }
            _ => Missed::Never(why),
        })
    }
}
