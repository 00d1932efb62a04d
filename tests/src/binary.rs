//! The binary under test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Path of `skink`, built from the present sources in the profile of this test. `SKINK_BINARY` names another one.
///
/// # Panics
/// It can't be built.
pub fn skink() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("SKINK_BINARY") {
        Some(path) => path.into(),
        None => build(),
    })
}

/// Asks cargo, which knows where its output goes, and does nothing where all is built.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    // target/PROFILE/deps/TEST, with another folder in between for another platform.
    let profile_folder = test.parent().and_then(Path::parent).expect("a test lies in a folder of cargo's");
    let profile = match profile_folder.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(name) => name,
    };
    let output = Command::new(env!("CARGO"))
        .args(["build", "--package", "skink-shell", "--bin", "skink", "--message-format", "json", "--profile", profile])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "skink does not build");
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        rest.split_once('"').map(|(path, _)| PathBuf::from(path))
    });
    executable.expect("cargo tells where the binary is")
}
