//! Goes through the pages of each shard, and counts what they tell.

use std::time::Duration;

use http::Method;

use crate::link::proof::ClusterKey;
use crate::node::audit::{AuditPage, AuditPart};
use crate::operations::audit::audit_path;
use crate::output;
use crate::process::cluster::call::Place;
use crate::process::cluster::{first, understood};

/// How often a page is asked for whose owner does not answer: its shard may be on its way.
const ATTEMPTS: u32 = 5;

/// Pause before that.
const AGAIN: Duration = Duration::from_millis(500);

/// By what right something is mended, and who asks for it.
#[derive(Debug)]
pub(super) struct Repairing {
    pub(super) key: ClusterKey,
    pub(super) by: String,
}

/// Asks for one page after the other.
#[derive(Debug)]
pub(super) struct Auditor<'a> {
    places: &'a [Place],
    repairing: Option<Repairing>,
    pause: Duration,
    conversations: u64,
    pairs: u64,
    differing: u64,
    mended: u64,
    not_compared: u64,
}

impl<'a> Auditor<'a> {
    pub(super) fn new(places: &'a [Place], repairing: Option<Repairing>, pause: Duration) -> Self {
        Self {
            places,
            repairing,
            pause,
            conversations: 0,
            pairs: 0,
            differing: 0,
            mended: 0,
            not_compared: 0,
        }
    }

    /// Looks at a shard: in itself, its participants, the lists of its users.
    pub(super) async fn audit(&mut self, shard: u16) {
        for part in AuditPart::ALL {
            let mut after = None;
            loop {
                let page = self.page(shard, part, after.as_deref()).await;
                tokio::time::sleep(self.pause).await;
                match page {
                    Ok(page) => {
                        self.take(shard, part, &page);
                        after = page.next;
                    }
                    Err(why) => {
                        self.not_compared += 1;
                        output::print(&format!("shard {shard}: not compared: {why}\n"));
                        after = None;
                    }
                }
                if after.is_none() {
                    break;
                }
            }
        }
    }

    async fn page(
        &self,
        shard: u16,
        part: AuditPart,
        after: Option<&str>,
    ) -> Result<AuditPage, String> {
        let mut path = audit_path(shard, part, after);
        let (method, key) = match &self.repairing {
            Some(Repairing { key, by }) => {
                path = format!("{path}&by={by}");
                (Method::POST, Some(key))
            }
            None => (Method::GET, None),
        };

        let mut attempt = 1;
        loop {
            match first(self.places, (&method, &path), key).await {
                Ok(said) => return understood(&said),
                Err(why) if attempt == ATTEMPTS => return Err(why),
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
            attempt += 1;
        }
    }

    fn take(&mut self, shard: u16, part: AuditPart, page: &AuditPage) {
        let looked_at = u64::from(page.looked_at);
        match part {
            AuditPart::Shard => self.conversations += looked_at,
            AuditPart::Members | AuditPart::Lists => self.pairs += looked_at,
        }

        for one in &page.differing {
            self.differing += 1;
            self.mended += u64::from(one.mended);
            let became = match (&self.repairing, one.mended) {
                (None, _) => "",
                (Some(_), true) => " (mended)",
                (Some(_), false) => " (not mended)",
            };
            output::print(&format!("shard {shard}: {}{became}\n", one.what));
        }
        for why in &page.not_compared {
            self.not_compared += 1;
            output::print(&format!("shard {shard}: not compared: {why}\n"));
        }
    }

    /// What was found, in one line.
    pub(super) fn summary(&self) -> String {
        let Self {
            conversations,
            pairs,
            differing,
            mended,
            not_compared,
            ..
        } = self;
        format!(
            "{conversations} conversations and {pairs} rows of members and lists were looked at: {differing} differ, \
             {mended} of them were mended, {not_compared} could not be compared.\n"
        )
    }

    /// Whether everything was compared, and is as it should be.
    pub(super) fn is_well(&self) -> bool {
        self.differing == self.mended && self.not_compared == 0
    }
}
