//! Data directories that can't be used: refused with exit code 1 and a message that says what to do.

use super::{OPTIONS, State, copy, files, load, newest_checkpoint, read_all};
use rand::SeedableRng;
use rand::rngs::StdRng;
use skink_tests::server::verify;
use skink_tests::{Server, Watchdog, binary, tools};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A data directory of a server that was stopped, and what is in it.
fn original() -> (TempDir, PathBuf, State) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut state = State::new();
    let mut server = Server::on(&data, OPTIONS);
    let mut wire = server.wire();
    let mut random = StdRng::seed_from_u64(1);
    load(&mut wire, &mut state, &mut random, 0..1000, 100);
    assert_eq!(wire.say("CHECKPOINT"), "+OK\\r\\n");
    load(&mut wire, &mut state, &mut random, 500..1500, 100);
    server.stop();
    (folder, data, state)
}

/// Checks that a server refuses the directory and says so.
fn assert_refused(data: &Path, says: &[&str]) {
    let Err(refusal) = Server::try_on(data, OPTIONS) else { panic!("{} was taken", data.display()) };
    assert_eq!(refusal.status.code(), Some(1), "{}", refusal.text);
    for what in says {
        assert!(refusal.text.contains(what), "{what:?} is not in: {}", refusal.text);
    }
}

/// CRC-32 as zlib has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn a_directory_that_is_in_use_is_refused_and_the_user_goes_on() {
    let _watchdog = Watchdog::minutes(5, "a_directory_that_is_in_use_is_refused_and_the_user_goes_on");
    let mut server = Server::start(OPTIONS);
    assert_refused(server.data(), &["is in use by another skink process", "stop that one first"]);
    assert!(server.is_alive());
    assert_eq!(server.wire().say("SET k v"), "+OK\\r\\n");
    server.kill9();
    server.restart();
    assert_eq!(server.wire().say("GET k"), "$1\\r\\nv\\r\\n");
}

#[test]
fn another_version_is_refused_and_named() {
    let _watchdog = Watchdog::minutes(5, "another_version_is_refused_and_named");
    let (_folder, data, state) = original();
    let format = data.join("FORMAT");
    let bytes = fs::read(&format).unwrap();
    let mut other = bytes.clone();
    other[8] = 9;
    let end = other.len() - 4;
    assert_eq!(crc32(&bytes[..end]).to_le_bytes(), bytes[end..], "the checksum is at the end");
    let crc = crc32(&other[..end]);
    other[end..].copy_from_slice(&crc.to_le_bytes());
    fs::write(&format, other).unwrap();
    assert_refused(&data, &["format version 9", "reads version 1", "use the program that wrote it"]);
    fs::write(&format, bytes).unwrap();
    assert!(read_all(&Server::on(&data, OPTIONS), &state).unwrap().is_empty());
}

#[test]
fn what_is_not_skinks_is_refused_and_stays() {
    let _watchdog = Watchdog::minutes(5, "what_is_not_skinks_is_refused_and_stays");
    let (folder, data, state) = original();
    for name in ["notes.txt", "checkpoints/notes.txt", "segments/notes.txt", "log/notes.txt"] {
        fs::write(data.join(name), "mine").unwrap();
        assert_refused(&data, &["notes.txt", "move it out of the data directory"]);
        assert_eq!(fs::read(data.join(name)).unwrap(), b"mine");
        fs::remove_file(data.join(name)).unwrap();
    }
    assert!(read_all(&Server::on(&data, OPTIONS), &state).unwrap().is_empty());
    // Folders of somebody else, and no folders.
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("notes.txt"), "mine").unwrap();
    assert_refused(&other, &["is not empty and no Skink data directory", "notes.txt", "name an empty or new folder"]);
    assert_eq!(files(&other, ""), [other.join("notes.txt")]);
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    assert_refused(&file, &["is not a folder", "name another data directory"]);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn a_directory_that_was_deleted_in_part_is_refused() {
    let _watchdog = Watchdog::minutes(5, "a_directory_that_was_deleted_in_part_is_refused");
    let (folder, data, state) = original();
    let in_part = "was deleted in part";
    let newest = newest_checkpoint(&data);
    let newest = newest.strip_prefix(&data).unwrap().to_str().unwrap().to_string();
    let segment = files(&data.join("segments"), ".seg")[0].file_name().unwrap().to_str().unwrap().to_string();
    let (in_segments, in_checkpoint) = (format!("segments/{segment}"), format!("{newest}/{segment}"));
    let log = files(&data.join("log"), "0.log");
    assert!(!log.is_empty());
    let cases: [(&[&str], &[&str]); 8] = [
        (&["FORMAT"], &["FORMAT is missing", in_part, "restore it from a backup"]),
        (&["segments"], &["segments is missing", in_part, "restore it from a backup"]),
        (&["checkpoints"], &["checkpoints is missing", in_part]),
        (&["log"], &["log is missing", in_part]),
        (&["checkpoints/*"], &["holds no checkpoint", in_part]),
        (&[&in_segments, &in_checkpoint], &[&segment, "is missing", in_part]),
        (&["log/*"], &["is missing", "restore the whole data directory from a backup"]),
        (&["FORMAT", "LOCK", "catalog", "images", "log"], &["FORMAT is missing", in_part]),
    ];
    for (number, (removed, says)) in cases.into_iter().enumerate() {
        let copied = folder.path().join(format!("copy{number}"));
        copy(&data, &copied);
        for name in removed {
            let paths = match name.strip_suffix("/*") {
                Some(name) => files(&copied.join(name), ""),
                None => vec![copied.join(name)],
            };
            for path in paths {
                let done = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                // There are no images of so few keys.
                assert!(done.is_ok() || path.ends_with("images"), "{}", path.display());
            }
        }
        assert_refused(&copied, says);
    }
    // The newest checkpoint's manifest alone: the older checkpoint and the log have everything.
    let copied = folder.path().join("manifest");
    copy(&data, &copied);
    fs::remove_file(copied.join(&newest).join("MANIFEST")).unwrap();
    let verified = verify(&copied);
    assert!(!verified.is_clean && verified.text.contains("MANIFEST is damaged at offset 0: the file is missing"));
    assert!(read_all(&Server::on(&copied, OPTIONS), &state).unwrap().is_empty());
    // What can go, can.
    fs::remove_dir_all(data.join("images")).unwrap();
    fs::remove_file(data.join(&in_segments)).unwrap();
    assert!(read_all(&Server::on(&data, OPTIONS), &state).unwrap().is_empty());
}

#[test]
fn a_directory_without_permission_is_refused() {
    let _watchdog = Watchdog::minutes(5, "a_directory_without_permission_is_refused");
    let (folder, data, state) = original();
    // Root is denied nothing, so somebody else tries, with a copy of the program that he may run.
    let is_root = rustix::process::geteuid().is_root();
    if is_root && !tools::is_there("setpriv") {
        return;
    }
    let program = folder.path().join("skink");
    fs::copy(binary::skink(), &program).unwrap();
    let allow = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    allow(folder.path(), 0o755);
    let refused = |data: &Path| {
        let mut command = if is_root { Command::new("setpriv") } else { Command::new(&program) };
        if is_root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if !line.is_empty() {
            child.kill().unwrap();
        }
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        let status = child.wait().unwrap();
        assert!(line.is_empty(), "it was served: {line}");
        assert_eq!(status.code(), Some(1), "{text}");
        assert!(text.contains("permission denied"), "{text}");
        text
    };
    allow(&data, 0o000);
    let what_to_do = "must belong to the user that runs skink";
    assert!(refused(&data).contains(what_to_do));
    // A new one where no folder may be made.
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    allow(&closed, 0o555);
    assert!(refused(&closed.join("data")).contains(what_to_do));
    // It may be looked at, and not written.
    allow(&data, 0o555);
    let lock = data.join("LOCK");
    allow(&lock, 0o444);
    assert!(refused(&data).contains(&data.display().to_string()));
    allow(&lock, 0o644);
    allow(&data, 0o755);
    assert!(read_all(&Server::on(&data, OPTIONS), &state).unwrap().is_empty());
}
