//! Files of the data folder of one process; secrets that are made at the first start, each in a
//! file of its own.

use std::io::ErrorKind;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::secrets::Secret;
use crate::files::write_whole;

/// The log of one process, in its data folder.
pub(crate) const LOG: &str = "log";
/// The log of one process as versions before 2026-11-30 kept it.
pub(crate) const FORMER_LOG: &str = "log.sqlite";

/// The key of links, in the data folder of one process or of a cluster on one machine.
pub(crate) const CLUSTER_KEY: &str = "cluster-key";

/// Random bytes of a secret that we make.
const SECRET_BYTES: usize = 48;

/// The secret that was given; else the one in the file; else a new random one, written there for
/// its owner's eyes only.
///
/// # Errors
/// One clear line: the file cannot be read or written.
pub(crate) fn secret(given: Option<Secret>, path: &Path) -> Result<Secret, String> {
    if let Some(secret) = given {
        return Ok(secret);
    }
    if let Some(secret) = read_secret(path)? {
        return Ok(secret);
    }
    let bytes: [u8; SECRET_BYTES] = rand::random();
    let text = URL_SAFE_NO_PAD.encode(bytes);
    write_whole(path, text.as_bytes())?;
    Ok(Secret::new(&text))
}

/// The secret in a file, if there is such a file.
///
/// # Errors
/// One clear line: it cannot be read.
pub(crate) fn read_secret(path: &Path) -> Result<Option<Secret>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(Secret::new(&text))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_for_its_owners_eyes_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("jwt-secret");
        let made = secret(None, &path).expect("made");
        assert!(made.expose().len() >= 64);
        assert_eq!(secret(None, &path).expect("read"), made);
        assert_eq!(
            std::fs::metadata(&path)
                .expect("there")
                .permissions()
                .mode()
                & 0o777,
            0o600
        );
        let given = Secret::new("another");
        assert_eq!(secret(Some(given.clone()), &path).expect("given"), given);
    }

    #[test]
    fn a_secret_that_cannot_be_written_is_one_line_without_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused =
            secret(None, &folder.path().join("absent/jwt-secret")).expect_err("no folder");
        assert!(
            refused.contains("jwt-secret") && !refused.contains('\n'),
            "{refused}"
        );
    }
}
