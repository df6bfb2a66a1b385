//! Messages beside the storm.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::client::http::Ask;
use crate::load::recorder::micros;
use crate::presence::made::Made;
use crate::presence::watching::Watched;
use crate::target::Target;

/// Sends messages at one rate until the end, each with the moment at which it was due.
pub(super) async fn talk(
    target: &Target,
    made: &Made,
    rate: u32,
    (watched, mut ends): (&Arc<Watched>, watch::Receiver<bool>),
) -> Result<JoinHandle<Result<(), String>>, String> {
    let path = format!("/v1/conversations/{}/messages", made.talk);
    let (token, pool) = (
        target.tokens.of(&made.admin).await?,
        Arc::clone(target.pool(0)?),
    );
    let (watched, every) = (Arc::clone(watched), Duration::from_secs(1) / rate);

    Ok(tokio::spawn(async move {
        let (mut ticks, mut sending) = (tokio::time::interval(every), JoinSet::new());
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = ends.wait_for(|end| *end) => break,
            }
            let text = micros(watched.begun.elapsed()).to_string();
            let body = Bytes::from(serde_json::json!({"text": text}).to_string());
            let (ask, pool) = (
                Ask::post(path.clone(), Arc::clone(&token), body),
                Arc::clone(&pool),
            );
            sending.spawn(async move { pool.succeed(&ask).await.map(drop) });
            while let Some(sent) = sending.try_join_next() {
                answered(sent)?;
            }
        }
        while let Some(sent) = sending.join_next().await {
            answered(sent)?;
        }
        Ok(())
    }))
}

fn answered<E: std::fmt::Display>(
    sent: Result<Result<(), E>, tokio::task::JoinError>,
) -> Result<(), String> {
    let sent = sent.map_err(|error| error.to_string())?;
    sent.map_err(|error| format!("sending a message: {error}"))
}
