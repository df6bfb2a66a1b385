//! Settings of what clients meet: whose tokens are good, where browsers may come from, how much one
//! user may ask.
#![expect(
    clippy::doc_markdown,
    reason = "the comments of fields are help texts for a terminal"
)]

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::auth;
use crate::auth::UserClaim;
use crate::config::run::RunSettings;
use crate::config::secrets::Secret;
use crate::config::values;
use crate::router;
use crate::router::cors::Origins;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Clients")]
pub struct AuthSettings {
    /// JWKS file with the public keys of RS256, ES256 and EdDSA tokens; read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub jwks: Option<PathBuf>,
    /// Required `iss` of tokens; unset: any.
    #[arg(long, value_name = "TEXT")]
    pub jwt_issuer: Option<String>,
    /// Required `aud` of tokens; unset: any.
    #[arg(long, value_name = "TEXT")]
    pub jwt_audience: Option<String>,
    /// The claim of a token that names the user.
    #[arg(long, value_name = "CLAIM", default_value = "sub", value_parser = values::user_claim)]
    pub user_claim: String,
    /// Verified tokens that each node and router remembers.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    pub token_cache: usize,
}

impl AuthSettings {
    /// Returns which tokens are good, given the secret.
    #[must_use]
    pub fn config(&self, secret: Option<&Secret>) -> auth::Config {
        auth::Config {
            hs256_secret: secret.map(|secret| secret.expose().to_owned()),
            jwks: self.jwks.clone(),
            issuer: self.jwt_issuer.clone(),
            audience: self.jwt_audience.clone(),
            user_claim: UserClaim::new(&self.user_claim),
            cache_max: self.token_cache,
        }
    }
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Clients")]
pub struct FrontSettings {
    /// Origins that browsers may call from, comma-separated; unset: any localhost origin, *: every
    /// origin.
    #[arg(long, value_name = "ORIGINS", value_delimiter = ',', action = ArgAction::Set)]
    pub cors_origins: Vec<String>,
    /// Connections of clients that are no WebSocket; the one that has been idle longest gives way
    /// to one more, which is refused when none is idle.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    pub connections_max: usize,
    /// Bytes of requests that the router holds while a shard moves; more get 503.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = values::size)]
    pub hold_bytes: u64,
    /// Time for one request, however many waits it meets.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = values::duration)]
    pub request_budget: Duration,
}

impl FrontSettings {
    /// Returns the configuration of a router.
    ///
    /// # Errors
    /// One clear line: an origin that is none.
    pub fn config(
        &self,
        run: &RunSettings,
        auth: &AuthSettings,
        sockets_max: usize,
    ) -> Result<router::Config, String> {
        let origins = match self.cors_origins.as_slice() {
            [] => Origins::Localhost,
            listed => {
                Origins::parse(&listed.join(",")).map_err(|why| format!("--cors-origins: {why}"))?
            }
        };

        Ok(router::Config {
            connections_max: self.connections_max,
            sockets_max,
            budget: self.request_budget,
            hold_bytes_max: usize::try_from(self.hold_bytes).unwrap_or(usize::MAX),
            drain_window: run.drain_window,
            user_claim: UserClaim::new(&auth.user_claim),
            origins,
            ..router::Config::default()
        })
    }
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Clients")]
pub struct RateSettings {
    /// Requests per second of one user at one node, sustained; more get 429.
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..))]
    pub requests_per_second: u32,
    /// Requests that one user may send at once on top of that.
    #[arg(long, value_name = "COUNT", default_value = "2000", value_parser = clap::value_parser!(u32).range(1..))]
    pub request_burst: u32,
}
