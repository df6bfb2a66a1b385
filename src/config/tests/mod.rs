//! Settings as they are given: flags, variables, `.env`, secrets, and the document of all of them.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::config::cluster::{NodeSettings, RouterSettings};
use crate::config::secrets::{Environment, Secrets};
use crate::config::settings::Settings;
use crate::config::{Invocation, Refused, secrets};

mod documents;
mod secrecy;
mod sources;
mod values;

const SECRET: &str = "a-secret-that-must-never-be-shown-anywhere";

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::new(
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value))),
    )
}

fn gather(args: &[&str], variables: &[(&str, &str)]) -> Result<Invocation, Refused> {
    let args = std::iter::once("rookery")
        .chain(args.iter().copied())
        .map(OsString::from);
    Invocation::from_parts(args, &environment(variables))
}

fn settings(args: &[&str], variables: &[(&str, &str)]) -> Settings {
    match gather(args, variables).expect("settings") {
        Invocation::Dev(settings, _) => *settings,
        _ => panic!("not dev"),
    }
}

fn refusal(args: &[&str], variables: &[(&str, &str)]) -> String {
    match gather(args, variables).expect_err("refused") {
        Refused::Flags(error) => error.to_string(),
        Refused::Line(line) => line,
    }
}

fn node(args: &[&str], variables: &[(&str, &str)]) -> (NodeSettings, Secrets) {
    let args: Vec<&str> = std::iter::once("node")
        .chain(args.iter().copied())
        .collect();
    match gather(&args, variables).expect("settings") {
        Invocation::Node(settings, secrets) => (*settings, secrets),
        _ => panic!("no node"),
    }
}

fn router(args: &[&str], variables: &[(&str, &str)]) -> (RouterSettings, Secrets) {
    let args: Vec<&str> = std::iter::once("router")
        .chain(args.iter().copied())
        .collect();
    match gather(&args, variables).expect("settings") {
        Invocation::Router(settings, secrets) => (*settings, secrets),
        _ => panic!("no router"),
    }
}
