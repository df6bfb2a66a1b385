//! Who runs this program, for the log of a cluster that is changed.

use std::os::unix::fs::MetadataExt as _;

use crate::process::advertise::host_name;

/// The user and the host, as `anna@desk`; of a user whom this machine knows by number only, that.
pub(in crate::process) fn who() -> String {
    let user = std::fs::metadata("/proc/self")
        .map(|own| own.uid())
        .map_or_else(|_| "somebody".to_owned(), user_of);
    let host = host_name().unwrap_or_else(|| "somewhere".to_owned());
    format!("{user}@{host}")
}

fn user_of(number: u32) -> String {
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    named(&known, number).unwrap_or_else(|| format!("uid-{number}"))
}

/// The user of that number, of lines such as `anna:x:1000:1000::/home/anna:/bin/sh`.
fn named(known: &str, number: u32) -> Option<String> {
    let of_line = |line: &str| {
        let mut fields = line.split(':');
        let (name, _password, of) = (fields.next()?, fields.next()?, fields.next()?);
        (of.parse() == Ok(number)).then(|| name.to_owned())
    };
    known.lines().find_map(of_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_name_where_the_machine_has_one() {
        let known =
            "root:x:0:0:root:/root:/bin/bash\nbroken\nanna:x:1000:1000::/home/anna:/bin/sh\n";
        assert_eq!(named(known, 1000), Some("anna".to_owned()));
        assert_eq!(named(known, 7), None);
        assert!(who().contains('@'));
    }
}
