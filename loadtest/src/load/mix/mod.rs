//! What people do beside sending: how often ([`scenario`]), to which messages ([`recent`]), the
//! doing ([`actions`]), and what came of it ([`counts`]).

pub(crate) mod actions;
pub(crate) mod counts;
mod recent;
pub(crate) mod scenario;
