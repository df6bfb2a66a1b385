//! The log beside the view: what the log has after the file's place links to it.

use std::time::Instant;

use crate::ids::ShardId;
use crate::log::record::{Entry, Tail};
use crate::log::{ShardLog, Stream};
use crate::node::audit::looks::ask;
use crate::node::audit::page::{AuditDifference, AuditPage};
use crate::node::owners::Owners;
use crate::shard::command::{AuditAsk, AuditTold};

/// How often the place is asked for: the log goes on, and is trimmed, meanwhile.
const ATTEMPTS: u32 = 3;

/// Compares, and tells what differs in `page`.
pub(super) async fn compare(
    (owners, log): (&Owners, &dyn ShardLog),
    shard: ShardId,
    page: &mut AuditPage,
    deadline: Instant,
) {
    let mut broken = Vec::new();
    for attempt in 1..=ATTEMPTS {
        let (applied, quarantined) = match ask(owners, shard, AuditAsk::Ends, deadline).await {
            Ok(AuditTold::Ends {
                applied,
                quarantined,
            }) => (applied, quarantined),
            Ok(_) => return,
            Err(why) => return page.not_compared.push(why),
        };
        if attempt == 1 && quarantined > 0 {
            page.differing.push(told(format!(
                "{quarantined} records of its log could not be applied, and were put aside"
            )));
        }

        broken.clear();
        for (stream, tail) in applied {
            match follows(log, (shard, stream), tail).await {
                Ok(None) => {}
                Ok(Some(why)) => broken.push(told(why)),
                Err(why) => return page.not_compared.push(why),
            }
        }
        if broken.is_empty() {
            return;
        }
    }
    page.differing.append(&mut broken);
}

/// What is wrong with what follows a place in the log, if anything is there and is wrong.
async fn follows(
    log: &dyn ShardLog,
    (shard, stream): (ShardId, Stream),
    tail: Tail,
) -> Result<Option<String>, String> {
    let page = log
        .read(shard, stream, tail.offset, 1)
        .await
        .map_err(|error| format!("the log of shard {shard} cannot be read: {error}"))?;
    let Some(first) = page.first() else {
        return Ok(None);
    };
    let read = Entry::decode_after(&tail, &first.bytes);
    Ok(read.err().map(|error| {
        format!(
            "what its log has of {} after offset {} does not follow its file: {error}",
            stream.as_str(),
            tail.offset
        )
    }))
}

fn told(what: String) -> AuditDifference {
    AuditDifference {
        what,
        mended: false,
    }
}
