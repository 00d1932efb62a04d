//! The table, and what `COMMAND` and `HELP` make of it.

use super::super::table::{all, lookup};
use super::super::{CommandQuery, Flags, catalog};
use crate::resp::Frame;

#[test]
fn every_command_is_found_by_its_name_alone() {
    for spec in all() {
        let upper = spec.name.to_ascii_uppercase();
        assert_eq!(lookup(spec.name.as_bytes()), Some(spec));
        assert_eq!(lookup(upper.as_bytes()), Some(spec));
        for other in [format!("{upper}\0"), format!("{upper} "), upper[1..].to_string() + "\0"] {
            assert_eq!(lookup(other.as_bytes()), None, "{other:?}");
        }
    }
    assert_eq!(lookup(b""), None);
    assert_eq!(lookup(&[b'a'; 17]), None);
}

#[test]
fn the_table_is_consistent() {
    for spec in all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands)) {
        assert_eq!(spec.name, spec.name.to_ascii_lowercase());
        assert!(spec.summary.ends_with('.') && !spec.summary.contains(['\r', '\n']), "{}", spec.name);
        assert!(!(spec.flags.has(Flags::WRITE) && spec.flags.has(Flags::READ_ONLY)), "{}", spec.name);
        let words = spec.name.split('|').count();
        assert!(spec.arity.unsigned_abs() as usize >= words, "{}", spec.name);
        for subcommand in spec.subcommands {
            assert!(subcommand.name.starts_with(&format!("{}|", spec.name)), "{}", subcommand.name);
        }
    }
}

#[test]
fn command_describes_commands() {
    let count = i64::try_from(all().count()).unwrap();
    assert_eq!(catalog::reply(&CommandQuery::Count), Frame::Integer(count));
    let statuses = |names: &[&'static str]| Frame::Set(names.iter().map(|name| Frame::simple(*name)).collect());
    let get = Frame::Array(vec![
        Frame::bulk("get"),
        Frame::Integer(2),
        statuses(&["readonly", "fast"]),
        Frame::Integer(1),
        Frame::Integer(1),
        Frame::Integer(1),
        statuses(&["@read", "@fast", "@string"]),
        Frame::Array(vec![]),
        Frame::Array(vec![]),
        Frame::Array(vec![]),
    ]);
    let names = vec!["GET".into(), "nope".into(), "client|nope".into()];
    assert_eq!(catalog::reply(&CommandQuery::Info(names.clone())), Frame::Array(vec![get, Frame::Null, Frame::Null]));
    let docs = Frame::Map(vec![
        (Frame::bulk("summary"), Frame::bulk("Returns the value of a key.")),
        (Frame::bulk("since"), Frame::bulk("0.1.0")),
        (Frame::bulk("group"), Frame::bulk("string")),
    ]);
    assert_eq!(catalog::reply(&CommandQuery::Docs(names)), Frame::Map(vec![(Frame::bulk("get"), docs)]));
    for query in [CommandQuery::All, CommandQuery::List, CommandQuery::Info(vec![])] {
        assert!(matches!(catalog::reply(&query), Frame::Array(commands) if commands.len() as i64 == count));
    }
    let client_id = catalog::reply(&CommandQuery::Info(vec!["CLIENT|ID".into()]));
    assert!(matches!(client_id, Frame::Array(infos) if matches!(infos[0], Frame::Array(_))));
}

#[test]
fn help_lists_subcommands() {
    let Frame::Array(lines) = catalog::help(lookup(b"config").unwrap()) else { panic!("help is an array") };
    let expected = [
        "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET",
        "    Returns settings.",
        "HELP",
        "    Lists the subcommands.",
    ];
    assert_eq!(lines, expected.map(Frame::simple));
}
