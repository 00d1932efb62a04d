//! The configuration file: settings in TOML, under the names of their flags, with `_` for `-`.
//!
//! ```toml
//! data = "/var/lib/skink"
//! [cluster]
//! replica = 1
//! [cluster.members]
//! 1 = "10.0.0.1:7380"
//! ```
//!
//! A name that is not known is an error, with its line and what was likely meant: a setting that is misspelt must not
//! go unnoticed.

use super::Settings;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Longest file, in bytes.
const MAX_LEN: u64 = 1 << 20;
/// Settings of the section `[cluster]`, which people put elsewhere.
const OF_CLUSTER: [&str; 5] = ["replica", "members", "peer_listen", "secret_file", "request_timeout_ms"];
/// Names nearer to each other than this, of at most 1, are one name misspelt.
const SIMILARITY: f64 = 0.8;

/// Why a configuration file can't be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It can't be read.
    #[error("can't read the configuration file {path}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no file of settings.
    #[error("the configuration file {path} has more than {MAX_LEN} bytes")]
    TooLong {
        /// Which file.
        path: PathBuf,
    },
    /// Something in it is wrong.
    #[error("the configuration file {path} is wrong{place}: {message}{hint}")]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Where, as a text such as ` in line 7`.
        place: String,
        /// What is wrong.
        message: String,
        /// What to do, or nothing.
        hint: String,
    },
}

/// Reads settings from a file.
///
/// # Errors
/// The file can't be read, or something in it is wrong.
pub fn read(path: &Path) -> Result<Settings, FileError> {
    let unreadable = |source| FileError::Unreadable { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_LEN + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(FileError::TooLong { path: path.to_path_buf() });
    }
    let wrong = |offset: Option<usize>, message: &str| FileError::Wrong {
        path: path.to_path_buf(),
        place: offset.map(|offset| format!(" in line {}", line_of(&bytes, offset))).unwrap_or_default(),
        message: message.to_string(),
        hint: hint(message).map(|hint| format!("; {hint}")).unwrap_or_default(),
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| wrong(Some(error.valid_up_to()), "it is not UTF-8"))?;
    toml::from_str(text).map_err(|error| wrong(error.span().map(|span| span.start), error.message()))
}

/// The number of the line in which this byte is.
fn line_of(text: &[u8], offset: usize) -> usize {
    1 + text.iter().take(offset).filter(|byte| **byte == b'\n').count()
}

/// What somebody meant who wrote a name that is not known.
fn hint(message: &str) -> Option<String> {
    let names = message.strip_prefix("unknown field ")?;
    let mut names = names.split('`').skip(1).step_by(2);
    let unknown = names.next()?.replace('-', "_").to_ascii_lowercase();
    let expected: Vec<&str> = names.collect();
    if OF_CLUSTER.contains(&unknown.as_str()) && !expected.contains(&"members") {
        return Some(format!("`{unknown}` belongs in the section [cluster]"));
    }
    if !OF_CLUSTER.contains(&unknown.as_str()) && expected.contains(&"members") && is_of_server(&unknown) {
        return Some(format!("`{unknown}` belongs at the top, before the first section"));
    }
    let similarity = |name: &str| strsim::jaro_winkler(&unknown, name);
    let nearest = expected.into_iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(nearest) >= SIMILARITY).then(|| format!("did you mean `{nearest}`?"))
}

/// Whether a name is that of a setting outside of sections: a file with it has nothing that is unknown.
fn is_of_server(name: &str) -> bool {
    match toml::from_str::<Settings>(&format!("{name} = []")) {
        Ok(_) => true,
        Err(error) => !error.message().starts_with("unknown field"),
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::settings::Settings;
    use std::path::Path;

    const ALL: &str = r#"
data = "d"
listen = "localhost:7000"
segments = 16
log_file_mb = 8
max_value_mb = 1
checkpoint_log_mb = 32
checkpoint_seconds = 9
scheduler = "graph"
workers = 3
pin_workers = true
recovery = "on-demand"
io_threads = 2
log = "debug"

[cluster]
replica = 2
peer_listen = "0.0.0.0:7380"
secret_file = "s"
request_timeout_ms = 250

[cluster.members]
1 = "a:7380"
"2" = "b:7380"
"#;

    fn read_text(text: impl AsRef<[u8]>) -> Result<Settings, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_has_the_settings_that_flags_have() {
        let flags = "x --data d --listen 127.0.0.1:7000 --segments 16 --log-file-mb 8 --max-value-mb 1 \
                     --checkpoint-log-mb 32 --checkpoint-seconds 9 --scheduler graph --workers 3 --pin-workers --recovery on-demand --io-threads 2 --log debug --replica 2 \
                     --peer-listen 0.0.0.0:7380 --secret-file s --request-timeout-ms 250 --cluster 1=a:7380,2=b:7380";
        let flags = crate::settings::tests::flags(flags);
        assert_eq!(read_text(ALL), Ok(flags));
        assert_eq!(read_text(""), Ok(Settings::default()));
    }

    #[test]
    fn what_is_wrong_has_its_line_and_a_hint() {
        let cases = [
            ("\nlisten = 7379", "in line 2: invalid type: integer `7379`, expected a string"),
            (
                "data = \"d\"\n\nsegments = \"16\"",
                "in line 3: invalid type: string \"16\", expected a whole number from 1 to 4096",
            ),
            ("segments = 0", "in line 1: invalid value: integer `0`, expected a whole number from 1 to 4096"),
            ("segments = 1.5", "expected a whole number"),
            ("listen = \"0.0.0.0:1\"", "in line 1: this version has no authentication"),
            ("log = \"loud\"", "unknown variant `loud`, expected one of `off`, `error`"),
            ("lisen = \"a\"", "did you mean `listen`?"),
            ("log-file-mb = 1", "did you mean `log_file_mb`?"),
            ("banana = 1", "in line 1: unknown field `banana`, expected one of `data`"),
            ("\nreplica = 1", "in line 2: unknown field `replica`"),
            ("replica = 1", "`replica` belongs in the section [cluster]"),
            ("[cluster]\ndata = \"d\"", "`data` belongs at the top, before the first section"),
            ("[cluster]\nmembers = \"1=a:1,2=b:2\"", "in line 2: invalid type: string"),
            ("[cluster.members]\n1 = \"a:1\"\n2 = \"b\"", "replica 2: `b` has no port"),
            ("[cluster.members]\n1 = \"a:1\"\n1 = \"b:1\"", "in line 3: duplicate key"),
            ("[cluster]\nreplica = 16", "in line 2: invalid value: integer `16`, expected a whole number from 1 to 15"),
            ("a = [", "in line 1: "),
        ];
        for (text, expected) in cases {
            let error = read_text(text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        assert!(read_text(b"data = \"\xff\"").unwrap_err().contains("in line 1: it is not UTF-8"));
        assert!(read_text(vec![b'\n'; (1 << 20) + 1]).unwrap_err().contains("more than"));
        assert!(read(Path::new("/nowhere/at/all")).unwrap_err().to_string().contains("can't read"));
    }
}
