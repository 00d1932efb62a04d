//! Tidiness of the whole tree: what a reader relies on, and what no compiler checks.
#![allow(clippy::unwrap_used, reason = "tests: a failure is a panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Lines that a file may have: above it, it holds more than one idea.
const MAX_LINES: usize = 500;
/// Files that were longer when this test was written, and how long they may stay. Numbers only go down.
const LONGER: [(&str, usize); 1] = [("engine/src/env/sim.rs", 637)];

/// Crates from the inside out: each may depend on those before it, but the last two not on each other.
const LAYERS: [&str; 7] = ["engine", "replication", "server", "shell", "fuzz", "tests", "benches"];
const INNER_LAYERS: usize = 5;

/// Files with unsafe blocks: each says at its top why.
const UNSAFE_FILES: [&str; 3] = ["benches/src/peers/lmdb.rs", "benches/src/peers/rocksdb.rs", "engine/src/env/map.rs"];

// Words that this file is about, and must not contain itself.
const UNSAFE: &str = concat!("un", "safe");
const BANNED: [&str; 4] =
    [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("db", "g!("), concat!("#[ig", "nore")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files of the tree with this extension, their paths from the root, and their texts; what is built or generated
/// is left out.
fn files(extension: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("folders of the tree can be read") {
            let entry = entry.expect("folders of the tree can be read");
            let path = folder.join(entry.file_name());
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().expect("a file has a type");
            if kind.is_dir() && !name.starts_with('.') && !["target", "corpus", "artifacts"].contains(&name.as_str()) {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(root().join(&path)).expect("sources and documents are UTF-8");
                files.push((path.to_string_lossy().into_owned(), text));
            }
        }
    }
    assert!(!files.is_empty());
    files.sort();
    files
}

/// Fails with all that is wrong, a line each.
fn expect_none(rule: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}

/// A line without what follows `//`.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

#[test]
fn files_are_short() {
    let mut wrong = Vec::new();
    for (path, text) in files("rs") {
        let lines = text.lines().count();
        match LONGER.iter().find(|(longer, _)| *longer == path) {
            Some((_, most)) if lines > *most => wrong.push(format!("{path}: {lines} lines, had {most}")),
            Some(_) if lines <= MAX_LINES => wrong.push(format!("{path}: {lines} lines, needs no exception any more")),
            None if lines > MAX_LINES => wrong.push(format!("{path}: {lines} lines")),
            _ => {}
        }
    }
    expect_none(&format!("a file has at most {MAX_LINES} lines: split it by duty"), wrong);
}

#[test]
fn crates_depend_inwards() {
    let mut wrong = Vec::new();
    for (number, layer) in LAYERS.iter().enumerate() {
        let Ok(manifest) = fs::read_to_string(root().join(layer).join("Cargo.toml")) else {
            panic!("there is no crate {layer}");
        };
        for line in manifest.lines().filter(|line| line.starts_with("skink-")) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default().trim_start_matches("skink-");
            // A crate's tests may see it from outside.
            if !LAYERS[..number.min(INNER_LAYERS)].contains(&name) && name != *layer {
                wrong.push(format!("{layer} on {name}"));
            }
        }
    }
    expect_none("crates depend on those further inside alone", wrong);
}

#[test]
fn memory_is_only_touched_where_it_is_meant_to_be() {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let mut found = BTreeSet::new();
    for (path, text) in files("rs") {
        for line in text.lines().map(code).filter(|line| !line.contains("reason = ")) {
            for (at, _) in line.match_indices(UNSAFE) {
                let before = at.checked_sub(1).and_then(|at| line.as_bytes().get(at));
                if !is_word(before) && !is_word(line.as_bytes().get(at + UNSAFE.len())) {
                    found.insert(path.clone());
                }
            }
        }
    }
    let expected: BTreeSet<String> = UNSAFE_FILES.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "files with {UNSAFE} blocks");
}

#[test]
fn nothing_is_left_for_later() {
    let mut wrong = Vec::new();
    for (path, text) in files("rs") {
        for (number, line) in text.lines().enumerate() {
            if BANNED.iter().any(|banned| code(line).contains(banned)) {
                wrong.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    expect_none("no placeholders, no debug output, no tests that don't run", wrong);
}

#[test]
fn every_file_says_what_it_is_for() {
    let is_documented =
        |text: &str| text.lines().find(|line| !line.starts_with("#![")).is_some_and(|line| line.starts_with("//! "));
    let wrong = files("rs").into_iter().filter(|(_, text)| !is_documented(text)).map(|(path, _)| path);
    expect_none("a file starts with its //! documentation", wrong.collect());
}

#[test]
fn every_file_is_compiled() {
    let sources = files("rs");
    let mut wrong = Vec::new();
    for (path, _) in sources.iter().filter(|(path, _)| path.contains("/src/") && !path.contains("/src/bin/")) {
        let path = Path::new(path);
        let (Some(name), Some(folder)) = (path.file_stem().and_then(|name| name.to_str()), path.parent()) else {
            continue;
        };
        let parents = [folder.with_extension("rs"), folder.join("lib.rs"), folder.join("main.rs")];
        let declaration = format!("mod {name};");
        let is_named = sources.iter().any(|(other, text)| {
            parents.iter().any(|parent| parent == Path::new(other))
                && text
                    .lines()
                    .any(|line| line.starts_with("pub") && line.ends_with(&declaration) || line == declaration)
        });
        if !is_named && !["lib", "main"].contains(&name) {
            wrong.push(path.display().to_string());
        }
    }
    expect_none("a file that no module names is dead", wrong);
}

/// Where a link in a file leads; without `.` and `..`.
fn resolved(from: &str, link: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for component in Path::new(from).parent().unwrap_or(Path::new("")).join(link).components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// The anchor that a heading has where Markdown is shown.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_somewhere() {
    let documents = files("md");
    let mut wrong = Vec::new();
    for (path, text) in &documents {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { PathBuf::from(path) } else { resolved(path, file) };
            let text = documents.iter().find(|(other, _)| Path::new(other) == target).map(|(_, text)| text);
            let has_anchor = fragment.is_empty()
                || text.is_some_and(|text| text.lines().any(|line| line.starts_with('#') && anchor(line) == fragment));
            if !root().join(&target).exists() || !has_anchor {
                wrong.push(format!("{path}: {link}"));
            }
        }
    }
    expect_none("links resolve", wrong);
}

#[test]
fn named_files_exist() {
    let mut wrong = Vec::new();
    let mut check = |path: &str, name: &str| {
        if !root().join(name).exists() {
            wrong.push(format!("{path}: {name}"));
        }
    };
    // In documents: what stands in backticks and looks like a path in a crate.
    for (path, text) in files("md") {
        for name in text.split('`').skip(1).step_by(2) {
            let is_path = LAYERS.iter().chain(&["docs"]).any(|layer| name.starts_with(&format!("{layer}/")));
            if is_path && !name.contains([' ', '*', '<', '{']) {
                check(&path, name);
            }
        }
    }
    // In sources: documents.
    for (path, text) in files("rs") {
        for name in text.split('`').filter(|name| name.starts_with("docs/") && name.ends_with(".md")) {
            check(&path, name);
        }
    }
    expect_none("files that are named exist", wrong);
}
