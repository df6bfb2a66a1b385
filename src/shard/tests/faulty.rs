//! A log that fails on demand: it stands before a real one and follows a script.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::*;
use crate::ids::{Epoch, Offset};
use crate::log::record::Header;
use crate::log::{
    AppendError, AppendOutcome, Batch, Claim, ClaimOutcome, Control, LogError, PerStream, RawEntry,
};

/// What happens to one attempt to append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Refused, and not there.
    NotWritten,
    /// Written, but nobody says so.
    DoubtWritten,
    /// Not written, but nobody can tell.
    DoubtNotWritten,
    /// Written, but no second copy is confirmed.
    NotReplicated,
    /// Not there, because there is no space.
    Full,
    /// Not there, because there is no space; but nobody can tell.
    DoubtFull,
}

/// The log with the script.
#[derive(Debug)]
pub(crate) struct FaultyLog {
    pub(super) inner: Arc<dyn ShardLog>,
    /// Faults of the next attempts, by stream.
    script: Mutex<PerStream<VecDeque<Fault>>>,
    /// What happens to every attempt beyond the script.
    always: Mutex<Option<Fault>>,
    /// The only shard that faults happen to, if there is one.
    only: Mutex<Option<ShardId>>,
    /// Appends wait, before they reach the log, while this is true.
    held: watch::Sender<bool>,
    /// Reads wait while this is true: the workers stand still.
    stalled: watch::Sender<bool>,
    /// Everything but appends is answered with an error while this is true.
    silent: watch::Sender<bool>,
    /// Batches that came here, by stream.
    pub(super) attempts: watch::Sender<PerStream<u64>>,
}

impl FaultyLog {
    pub(crate) fn over(inner: Arc<dyn ShardLog>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            script: Mutex::default(),
            always: Mutex::default(),
            only: Mutex::default(),
            held: watch::Sender::new(false),
            stalled: watch::Sender::new(false),
            silent: watch::Sender::new(false),
            attempts: watch::Sender::new(PerStream::default()),
        })
    }

    pub(super) fn fault(&self, stream: Stream, faults: &[Fault]) {
        self.script.lock().expect("whole")[stream].extend(faults);
    }

    pub(super) fn always(&self, fault: Option<Fault>) {
        *self.always.lock().expect("whole") = fault;
    }

    pub(super) fn only(&self, shard: ShardId) {
        *self.only.lock().expect("whole") = Some(shard);
    }

    pub(super) fn no_faults(&self) {
        *self.script.lock().expect("whole") = Default::default();
    }

    pub(crate) fn hold(&self) {
        self.held.send_replace(true);
    }

    pub(crate) fn release(&self) {
        self.held.send_replace(false);
    }

    pub(super) fn stall_reads(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    pub(super) fn silence(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    /// A node takes the shard, past every fault.
    pub(crate) async fn taken_by(&self, shard: ShardId, node: &str) {
        // The beat goes on while a batch is sent again and again.
        in_time(async {
            loop {
                let control = self.inner.control(shard).await.expect("reads");
                let control = control.expect("claimed");
                let claim = Claim {
                    shard,
                    expected: Some((control.token, control.beat)),
                    token: Token::new(control.token.epoch.next()),
                    owner: NodeId::from(node),
                    identity: identity(),
                    begin_at: PerStream::both(Tail::EMPTY),
                    ends_at: None,
                };
                if let ClaimOutcome::Claimed(_) = self.inner.claim(claim).await.expect("answers") {
                    return;
                }
            }
        })
        .await;
    }

    fn hears(&self) -> Result<(), LogError> {
        if *self.silent.borrow() {
            Err(LogError::Unanswered("no answer".to_owned()))
        } else {
            Ok(())
        }
    }

    /// Waits until so many batches of the stream came here.
    pub(crate) async fn attempted(&self, stream: Stream, count: u64) {
        let mut attempts = self.attempts.subscribe();
        in_time(attempts.wait_for(|attempts| attempts[stream] >= count))
            .await
            .expect("the log lives");
    }

    pub(crate) fn attempts_of(&self, stream: Stream) -> u64 {
        self.attempts.borrow()[stream]
    }

    fn next(&self, stream: Stream) -> Option<Fault> {
        let scripted = self.script.lock().expect("whole")[stream].pop_front();
        scripted.or_else(|| *self.always.lock().expect("whole"))
    }

    async fn append_one(&self, batch: &Batch) -> Result<AppendOutcome, AppendError> {
        let concerned = self
            .only
            .lock()
            .expect("whole")
            .is_none_or(|only| only == batch.shard);
        match self.next(batch.stream).filter(|_| concerned) {
            Some(Fault::NotWritten) => Err(AppendError::NotWritten("scripted".to_owned())),
            Some(Fault::Full) => Err(AppendError::Full {
                reason: "scripted".to_owned(),
                in_doubt: false,
            }),
            Some(Fault::DoubtFull) => Err(AppendError::Full {
                reason: "scripted".to_owned(),
                in_doubt: true,
            }),
            Some(Fault::DoubtNotWritten) => Err(AppendError::InDoubt("scripted".to_owned())),
            Some(Fault::DoubtWritten) => {
                let _outcome = self.inner.append(std::slice::from_ref(batch)).await;
                Err(AppendError::InDoubt("scripted".to_owned()))
            }
            Some(Fault::NotReplicated) => {
                let _outcome = self.inner.append(std::slice::from_ref(batch)).await;
                Err(AppendError::NotReplicated("scripted".to_owned()))
            }
            None => self
                .inner
                .append(std::slice::from_ref(batch))
                .await
                .remove(0),
        }
    }
}

#[async_trait]
impl ShardLog for FaultyLog {
    async fn control(&self, shard: ShardId) -> Result<Option<Control>, LogError> {
        self.hears()?;
        self.inner.control(shard).await
    }

    async fn claim(&self, claim: Claim) -> Result<ClaimOutcome, LogError> {
        self.hears()?;
        self.inner.claim(claim).await
    }

    async fn append(&self, cycle: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
        for batch in cycle {
            self.attempts
                .send_modify(|attempts| attempts[batch.stream] += 1);
        }
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.expect("the log lives");
        let mut outcomes = Vec::new();
        for batch in cycle {
            outcomes.push(self.append_one(batch).await);
        }
        outcomes
    }

    async fn renew(&self, holds: &[(ShardId, Token)]) -> Vec<Result<bool, LogError>> {
        if let Err(error) = self.hears() {
            return vec![Err(error); holds.len()];
        }
        self.inner.renew(holds).await
    }

    async fn read(
        &self,
        shard: ShardId,
        stream: Stream,
        after: Offset,
        bytes_max: usize,
    ) -> Result<Vec<RawEntry>, LogError> {
        let mut stalled = self.stalled.subscribe();
        stalled
            .wait_for(|stalled| !stalled)
            .await
            .expect("the log lives");
        self.hears()?;
        self.inner.read(shard, stream, after, bytes_max).await
    }

    async fn trim(
        &self,
        shard: ShardId,
        token: Token,
        stream: Stream,
        upto: Offset,
    ) -> Result<(), LogError> {
        self.hears()?;
        self.inner.trim(shard, token, stream, upto).await
    }
}

/// The shard is claimed for the first time, by node-a under this epoch, and has these entries.
pub(super) async fn begin(log: &dyn ShardLog, epoch: u64, entries: PerStream<Vec<Bytes>>) {
    let token = Token::new(Epoch(epoch));
    let claim = Claim {
        shard: SHARD,
        expected: None,
        token,
        owner: NodeId::from("node-a"),
        identity: identity(),
        begin_at: PerStream::both(Tail::EMPTY),
        ends_at: None,
    };
    assert!(matches!(
        log.claim(claim).await,
        Ok(ClaimOutcome::Claimed(_))
    ));

    for (stream, entries) in entries {
        let mut expected = Tail::EMPTY;
        for bytes in entries {
            let tail = Header::read(&bytes).expect("an entry").tail();
            let batch = Batch {
                shard: SHARD,
                stream,
                token,
                expected,
                tail,
                bytes,
            };
            assert!(log.append(&[batch]).await[0].is_ok());
            expected = tail;
        }
    }
}
