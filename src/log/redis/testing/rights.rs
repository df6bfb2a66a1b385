//! A user of Redis that may do what the documented rule says, or one thing less.

use crate::log::redis::Config;
use crate::log::redis::denied::RIGHTS;
use crate::log::redis::testing::{Server, words};

/// With everything that means something in a URL.
const PASSWORD: &str = "a#b/c?d@e:f%g,h";
const ENCODED: &str = "a%23b%2Fc%3Fd%40e%3Af%25g%2Ch";

/// Each right to run a command, without its sign.
pub fn commands() -> Vec<&'static str> {
    RIGHTS
        .split_whitespace()
        .filter_map(|word| word.strip_prefix('+'))
        .collect()
}

/// The settings with a user of their own on these servers, who may do what is documented, but not
/// `less`.
pub async fn restricted(config: Config, servers: &[Server], less: Option<&str>) -> Config {
    let user = format!("u-{}", config.prefix);
    for server in servers {
        let mut rule = redis::cmd("ACL");
        rule.arg("SETUSER")
            .arg(&user)
            .arg("reset")
            .arg("on")
            .arg(format!(">{PASSWORD}"));
        for word in RIGHTS
            .split_whitespace()
            .filter(|word| word.strip_prefix('+').is_none_or(|it| Some(it) != less))
        {
            rule.arg(word.replace("{rk:", &format!("{{{}:", config.prefix)));
        }
        rule.query_async::<()>(&mut server.meddler().await)
            .await
            .expect("a rule");
        // Its scripts may be there from others, who ran them by their text.
        words("SCRIPT FLUSH")
            .query_async::<()>(&mut server.meddler().await)
            .await
            .expect("flushed");
    }

    let login = format!("redis://{user}:{ENCODED}@");
    let urls = config
        .urls
        .iter()
        .map(|url| url.replace("redis://", &login))
        .collect();
    Config { urls, ..config }
}
