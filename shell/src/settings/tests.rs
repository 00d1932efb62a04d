//! What comes of flags and files together, and which of them don't go together.

use super::{Checked, Settings, SettingsError};
use crate::cli::{Cli, Command};
use clap::Parser;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const LOCAL: &str = "1=127.0.0.1:7401,2=127.0.0.1:7402,3=localhost:7403";

/// The settings that `skink serve` is given.
pub(super) fn flags(line: &str) -> Settings {
    let line = ["skink", "serve"].into_iter().chain(line.split_whitespace().skip(1));
    match Cli::try_parse_from(line).map(|cli| cli.command) {
        Ok(Command::Serve(serve)) => serve.settings,
        other => panic!("not parsed: {other:?}"),
    }
}

fn checked(line: &str) -> Result<Checked, SettingsError> {
    flags(&format!("x --data d {line}")).checked(None)
}

fn error(line: &str) -> String {
    checked(line).map(|_| ()).unwrap_err().to_string()
}

fn warnings(line: &str) -> Vec<String> {
    checked(line).unwrap().warnings.iter().map(ToString::to_string).collect()
}

/// A file with a secret, which its owner alone can read, and the flag that names it.
fn secret(folder: &Path) -> String {
    let path = folder.join("secret");
    std::fs::write(&path, "a secret of a cluster\n").unwrap();
    set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    format!("--secret-file {}", path.display())
}

#[test]
fn without_any_flag_all_is_at_its_default() {
    let Checked { config, log, warnings } = checked("").unwrap();
    assert_eq!((config.listen.to_string().as_str(), log, warnings), ("127.0.0.1:7379", None, vec![]));
    assert!(config.replica.cluster.is_none());
}

#[test]
fn a_replica_knows_its_place() {
    let checked = checked(&format!("--replica 2 --cluster {LOCAL} --request-timeout-ms 250")).unwrap();
    assert_eq!(checked.warnings, []);
    let cluster = checked.config.replica.cluster.unwrap();
    assert_eq!((cluster.own.get(), cluster.listen.to_string().as_str()), (2, "127.0.0.1:7402"));
    let peers: Vec<(u8, String)> =
        cluster.peers.into_iter().map(|(replica, address)| (replica.get(), address)).collect();
    let expected = [(1, "127.0.0.1:7401"), (2, "127.0.0.1:7402"), (3, "localhost:7403")];
    assert_eq!(peers, expected.map(|(replica, address)| (replica, address.to_string())));
    assert_eq!((cluster.secret, cluster.request_timeout), (None, Duration::from_millis(250)));
}

#[test]
fn a_place_is_given_whole() {
    assert!(error("--replica 1").contains("--replica needs --cluster"));
    assert!(error(&format!("--cluster {LOCAL}")).contains("--cluster needs --replica"));
    assert!(error("--peer-listen 127.0.0.1:1").contains("--peer-listen needs --replica and --cluster"));
    assert!(error("--request-timeout-ms 5").contains("--request-timeout-ms needs"));
    let error = error(&format!("--replica 4 --cluster {LOCAL}"));
    assert!(error.contains("replica 4 is not in the cluster, which has 1, 2, 3: add 4=HOST:PORT"), "{error}");
}

#[test]
fn without_a_secret_all_of_it_is_on_this_machine() {
    let elsewhere = "--replica 1 --cluster 1=127.0.0.1:7401,2=replica-2.example:7402";
    assert!(error(elsewhere).contains("replica 2 (replica-2.example:7402) is not on this machine"));
    let open = format!("--replica 1 --cluster {LOCAL} --peer-listen 0.0.0.0:7401");
    assert!(error(&open).contains("where replica 1 would listen (0.0.0.0:7401)"), "{}", error(&open));
    let folder = tempfile::tempdir().unwrap();
    let secret = secret(folder.path());
    let cluster = checked(&format!("{open} {secret}")).unwrap().config.replica.cluster.unwrap();
    assert_eq!(cluster.secret.as_deref(), Some(b"a secret of a cluster".as_slice()));
    assert_eq!(cluster.listen.to_string(), "0.0.0.0:7401");
    assert!(!format!("{cluster:?}").contains("a secret"), "a secret is never shown");
}

#[test]
fn replicas_and_clients_have_their_own_ports() {
    let cluster = format!("--replica 1 --cluster {LOCAL}");
    assert!(error(&format!("{cluster} --listen 127.0.0.1:7401")).contains("for clients and for other replicas"));
    let folder = tempfile::tempdir().unwrap();
    let secret = secret(folder.path());
    let open = format!("{cluster} {secret} --peer-listen 0.0.0.0:7379");
    assert!(error(&open).contains("listen on 127.0.0.1:7379 for clients"), "{}", error(&open));
}

#[test]
fn a_name_that_is_none_is_no_place_to_listen() {
    let line = format!("--replica 1 --cluster {LOCAL} --peer-listen nobody.invalid:7401");
    assert!(error(&line).contains("name an IP address of this machine with --peer-listen"), "{}", error(&line));
}

#[test]
fn what_is_likely_not_meant_is_warned_of() {
    let two = warnings("--replica 1 --cluster 1=127.0.0.1:7401,2=127.0.0.1:7402");
    assert!(matches!(two.as_slice(), [warning] if warning.contains("tolerates no failure")), "{two:?}");
    let folder = tempfile::tempdir().unwrap();
    let secret = secret(folder.path());
    let line = format!("--replica 1 --cluster 1=localhost:7401,2=10.0.0.2:7402,3=10.0.0.3:7403 {secret}");
    let loopback = warnings(&line);
    assert!(matches!(loopback.as_slice(), [warning] if warning.contains("--peer-listen, such as 0.0.0.0:7401")));
    set_permissions(folder.path().join("secret"), Permissions::from_mode(0o644)).unwrap();
    let open = warnings(&format!("--replica 1 --cluster {LOCAL} {secret}"));
    assert!(matches!(open.as_slice(), [warning] if warning.contains("(mode 644): do chmod 600")), "{open:?}");
}

#[test]
fn flags_come_before_the_file_one_by_one() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "data = \"from the file\"\nsegments = 4\nio_threads = 3\n[cluster]\nreplica = 1\nrequest_timeout_ms = 9\n\
                members = { 1 = \"127.0.0.1:1\", 2 = \"127.0.0.1:2\", 3 = \"127.0.0.1:3\" }\n";
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().display();
    let Checked { config, .. } =
        flags(&format!("x --config {path} --segments 8 --replica 3")).checked(Some(file.path())).unwrap();
    assert_eq!((config.data.to_str(), config.engine.segments, config.io_threads), (Some("from the file"), 8, 3));
    let cluster = config.replica.cluster.unwrap();
    assert_eq!((cluster.own.get(), cluster.peers.len(), cluster.request_timeout), (3, 3, Duration::from_millis(9)));
    std::fs::write(file.path(), "segments = 4\n").unwrap();
    let error = flags(&format!("x --config {path}")).checked(Some(file.path())).unwrap_err();
    assert!(matches!(error, SettingsError::NoData));
}
