//! The cluster's secret, from its file. It is never logged and never shown.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Shortest secret, in bytes: shorter ones can be guessed.
const MIN_LEN: usize = 16;
/// Longest secret, in bytes.
const MAX_LEN: usize = 1024;
/// Longest file: the secret, and some blanks around it.
const MAX_FILE_LEN: usize = 4096;

/// Why there is no secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file can't be read.
    #[error("can't read the secret in {path}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The secret is too short or too long.
    #[error(
        "{path} holds no secret: it must have {MIN_LEN} to {MAX_LEN} bytes, and has {len}{more}; \
         make one with: head -c 32 /dev/urandom | base64 > {path}",
        more = if *.len > MAX_LEN { " or more" } else { "" }
    )]
    WrongLength {
        /// Which file.
        path: PathBuf,
        /// How long it is without blanks at its ends.
        len: usize,
    },
}

/// A secret, and whether others than its owner can read its file.
pub struct Secret {
    /// The secret.
    pub bytes: Vec<u8>,
    /// The file's mode, if it lets others read it.
    pub open_mode: Option<u32>,
}

/// Reads the secret: all of the file, without blanks and line ends around it.
///
/// # Errors
/// The file can't be read, or holds no secret.
pub fn read(path: &Path) -> Result<Secret, SecretError> {
    let unreadable = |source| SecretError::Unreadable { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut text = Vec::new();
    file.take(MAX_FILE_LEN as u64).read_to_end(&mut text).map_err(unreadable)?;
    let bytes = text.trim_ascii().to_vec();
    if !(MIN_LEN..=MAX_LEN).contains(&bytes.len()) {
        return Err(SecretError::WrongLength { path: path.to_path_buf(), len: bytes.len() });
    }
    Ok(Secret { bytes, open_mode: (mode & 0o077 != 0).then_some(mode & 0o777) })
}

#[cfg(test)]
mod tests {
    use super::{SecretError, read};
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn blanks_around_a_secret_are_no_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for text in ["0123456789abcdef", "0123456789abcdef\n", " 0123456789abcdef \r\n\n"] {
            write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap().bytes, b"0123456789abcdef", "{text:?}");
        }
        write(&path, "0123 4567\n89abcdef\n").unwrap();
        assert_eq!(read(&path).unwrap().bytes, b"0123 4567\n89abcdef");
    }

    #[test]
    fn short_long_and_missing_secrets_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (text, len) in [("0123456789abcde\n".to_string(), 15), (" ".repeat(50), 0), ("x".repeat(1025), 1025)] {
            write(&path, text).unwrap();
            let found = read(&path).err();
            assert!(matches!(found, Some(SecretError::WrongLength { len: found, .. }) if found == len), "{len}");
        }
        write(&path, "x".repeat(1 << 20)).unwrap();
        assert!(read(&path).err().unwrap().to_string().contains("and has 4096 or more"));
        assert!(matches!(read(&folder.path().join("none")), Err(SecretError::Unreadable { .. })));
        assert!(matches!(read(folder.path()), Err(SecretError::Unreadable { .. })));
    }

    #[test]
    fn a_file_that_others_can_read_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write(&path, "0123456789abcdef").unwrap();
        for (mode, expected) in [(0o600, None), (0o400, None), (0o640, Some(0o640)), (0o604, Some(0o604))] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).unwrap().open_mode, expected, "{mode:o}");
        }
    }
}
