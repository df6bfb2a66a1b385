//! Asks the cluster: whichever of its operations ports answers, with the proof of the cluster key
//! where something is changed.

use std::path::Path;

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::config::ask::AskSettings;
use crate::config::secrets::{CLUSTER_KEY, Secrets};
use crate::link::proof::ClusterKey;
use crate::operations::{Cluster, control};
use crate::process::cluster::call::{self, Place, call};
use crate::process::cluster::who::who;
use crate::process::{cluster_key, files};

/// What an operations port told in JSON.
///
/// # Errors
/// One clear line: it is something else.
pub(in crate::process) fn understood<T: DeserializeOwned>(said: &[u8]) -> Result<T, String> {
    serde_json::from_slice(said)
        .map_err(|error| format!("the answer is none of an operations port: {error}"))
}

/// Knows whom to ask, and by what right.
pub(super) struct Asker<'a> {
    settings: &'a AskSettings,
    secrets: &'a Secrets,
    places: Vec<Place>,
}

impl<'a> Asker<'a> {
    /// # Errors
    /// One clear line: the folder is none of `scripts/cluster`.
    pub(super) fn new(settings: &'a AskSettings, secrets: &'a Secrets) -> Result<Self, String> {
        Ok(Self {
            settings,
            secrets,
            places: Place::all(
                settings.cluster.as_deref(),
                std::slice::from_ref(&settings.operations),
            )?,
        })
    }

    /// The whole cluster, as the first that answers tells it.
    pub(super) async fn whole(&self) -> Result<Cluster, String> {
        whole(&self.places).await
    }

    /// What the first says that answers.
    pub(super) async fn told(&self, path: &str) -> Result<Vec<u8>, String> {
        first(&self.places, (&Method::GET, path), None).await
    }

    /// The same of something that changes the cluster; with who asks for it.
    pub(super) async fn changed(&self, method: &Method, path: &str) -> Result<Vec<u8>, String> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let by = self.settings.by.clone().unwrap_or_else(who);
        let path = format!("{path}{separator}by={}", control::as_name(&by));
        first(&self.places, (method, &path), Some(&self.key()?)).await
    }

    fn key(&self) -> Result<ClusterKey, String> {
        match &self.settings.cluster {
            Some(folder) => call::key_in(folder),
            None => cluster_key(self.secrets),
        }
    }
}

/// The cluster key: that of a folder of `scripts/cluster`, the one that is given, or that of the
/// data folder of `rookery dev`.
///
/// # Errors
/// One clear line: there is none, or it cannot be one.
pub(in crate::process) fn key_of(
    cluster: Option<&Path>,
    data: &Path,
    secrets: &Secrets,
) -> Result<ClusterKey, String> {
    match (cluster, &secrets.cluster_key) {
        (Some(folder), _) => call::key_in(folder),
        (None, Some(_)) => cluster_key(secrets),
        (None, None) if data.join(files::CLUSTER_KEY).exists() => call::key_in(data),
        (None, None) => Err(format!(
            "no key: set {CLUSTER_KEY} or {CLUSTER_KEY}_FILE as for the nodes, or give the data folder of `rookery dev` with \
             --data"
        )),
    }
}

/// The whole cluster, as the first of these ports that answers tells it.
///
/// # Errors
/// One clear line: none answers, or one refuses.
pub(in crate::process) async fn whole(places: &[Place]) -> Result<Cluster, String> {
    understood(&first(places, (&Method::GET, "/cluster?whole"), None).await?)
}

/// What the first place says that can be reached; where something is changed, with a proof of the
/// key.
///
/// # Errors
/// One clear line: none answers, or one refuses.
pub(in crate::process) async fn first(
    places: &[Place],
    (method, path): (&Method, &str),
    key: Option<&ClusterKey>,
) -> Result<Vec<u8>, String> {
    let mut unreached = Vec::new();
    for place in places {
        let proof = key.map(|key| control::proof_of(key, method, path, Clock::system().now_ms()));
        match call(place, method, path, proof.as_deref()).await {
            Ok((StatusCode::OK, said)) => return Ok(said),
            Ok((status, said)) => {
                let said = String::from_utf8_lossy(&said);
                return Err(format!("{place} answers {status}: {}", said.trim_end()));
            }
            Err(why) => unreached.push(format!("{place}: {why}")),
        }
    }

    Err(format!(
        "no operations port answers; {}",
        unreached.join("; ")
    ))
}
