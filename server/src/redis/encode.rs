//! From the engine's reply and its shape to bytes.

use super::Shape;
use crate::resp::{ProtocolVersion, ReplyWriter};
use bytes::{Bytes, BytesMut};
use skink_engine::command::{CommandError, Reply, TimeToLive, Versioned};
use std::fmt::Debug;

/// Writes the reply in this shape behind what `out` holds.
pub fn encode_reply(reply: &Reply, shape: &Shape, version: ProtocolVersion, out: &mut BytesMut) {
    write_reply(reply, shape, &mut ReplyWriter::new(out, version));
}

fn write_reply(reply: &Reply, shape: &Shape, writer: &mut ReplyWriter<'_>) {
    match (shape, reply) {
        (_, Reply::Failed(error)) => writer.error(format_args!("{} {error}", code(error))),
        (_, Reply::RolledBack { index, error }) => writer.error(format_args!(
            "{} transaction rolled back at command {}: {error}",
            code(error),
            shape.command_number(*index)
        )),
        (Shape::Status, Reply::Written(_) | Reply::Done | Reply::Integer(_)) => writer.ok(),
        (Shape::Status | Shape::Value, Reply::Missing) => writer.null(),
        (Shape::Flag, Reply::Written(_)) => writer.integer(1),
        (Shape::Flag, Reply::Missing) => writer.integer(0),
        (Shape::Value, Reply::Value(version)) => writer.bulk(&version.value),
        (Shape::Values, Reply::Values(versions)) => {
            writer.array(versions.len());
            for version in versions {
                writer.optional_bulk(version.as_ref().map(|version| version.value.as_ref()));
            }
        }
        (Shape::Bytes, Reply::Bytes(bytes)) => writer.bulk(bytes),
        (Shape::Integer, Reply::Integer(number)) => writer.integer(*number),
        (Shape::TtlSeconds, Reply::TimeToLive(time)) => writer.integer(time_left(time, |_, in_ms| rounded(in_ms))),
        (Shape::TtlMs, Reply::TimeToLive(time)) => writer.integer(time_left(time, |_, in_ms| in_ms)),
        (Shape::ExpireTimeSeconds, Reply::TimeToLive(time)) => {
            writer.integer(time_left(time, |at_ms, _| rounded(at_ms)));
        }
        (Shape::ExpireTimeMs, Reply::TimeToLive(time)) => writer.integer(time_left(time, |at_ms, _| at_ms)),
        (Shape::Type, Reply::TimeToLive(TimeToLive::Missing)) => writer.simple("none"),
        (Shape::Type, Reply::TimeToLive(_)) => writer.simple("string"),
        (Shape::Scan | Shape::ScanOfNone, Reply::Scanned { keys, cursor }) => {
            let keys = if *shape == Shape::Scan { keys.as_slice() } else { &[] };
            writer.array(2);
            writer.bulk(itoa::Buffer::new().format(*cursor).as_bytes());
            writer.array(keys.len());
            keys.iter().for_each(|key| writer.bulk(key));
        }
        (Shape::Keys, Reply::Entries { next: Some(_), .. }) => {
            writer.error("ERR too many keys match for one reply; use SCAN");
        }
        (Shape::Keys, Reply::Entries { entries, next: None }) => {
            writer.array(entries.len());
            entries.iter().for_each(|entry| writer.bulk(&entry.key));
        }
        (Shape::Entries, Reply::Entries { entries, .. }) => {
            writer.array(entries.len());
            for entry in entries {
                writer.array(2);
                writer.bulk(&entry.key);
                writer.bulk(&entry.version.value);
            }
        }
        (Shape::Rows, Reply::Entries { entries, .. }) => {
            writer.array(entries.len());
            entries.iter().for_each(|entry| write_row(&entry.key, &entry.version, writer));
        }
        (Shape::RowsOf(keys), Reply::Values(versions)) if keys.len() == versions.len() => {
            writer.array(versions.iter().flatten().count());
            for (key, version) in keys.iter().zip(versions) {
                version.iter().for_each(|version| write_row(key, version, writer));
            }
        }
        (Shape::RowsOf(keys), Reply::Value(version)) if keys.len() == 1 => {
            writer.array(1);
            write_row(&keys[0], version, writer);
        }
        (Shape::RowsOf(_), Reply::Missing) => writer.array(0),
        (Shape::Pick { .. }, Reply::Transaction(replies)) if replies.len() == shape.width() => {
            write_group(replies, shape, writer);
        }
        (Shape::Transaction(shapes), Reply::Transaction(replies))
            if shapes.iter().map(Shape::width).sum::<usize>() == replies.len() =>
        {
            writer.array(shapes.len());
            let mut rest = replies.as_slice();
            for shape in shapes {
                let (group, later) = rest.split_at(shape.width());
                write_group(group, shape, writer);
                rest = later;
            }
        }
        (Shape::Transaction(_), Reply::Aborted) => writer.null_array(),
        _ => write_mismatch(reply, shape, writer),
    }
}

/// The answer to a bug of the server's, which should cost neither this connection nor others.
fn write_mismatch(reply: &dyn Debug, shape: &Shape, writer: &mut ReplyWriter<'_>) {
    debug_assert!(false, "no reply {reply:?} in the shape {shape:?}");
    writer.error("ERR internal error: the command was executed, but its reply has no encoding");
}

/// The replies of the commands that one shape is for.
fn write_group(replies: &[Reply], shape: &Shape, writer: &mut ReplyWriter<'_>) {
    match shape {
        Shape::Pick { index, shape, .. } => {
            let failure = replies.iter().find(|reply| reply.is_failure());
            match failure.or_else(|| replies.get(*index)) {
                Some(reply) => write_reply(reply, shape, writer),
                None => write_mismatch(&replies, shape, writer),
            }
        }
        Shape::Answer(frame) => frame.write(writer),
        _ => replies.iter().for_each(|reply| write_reply(reply, shape, writer)),
    }
}

fn write_row(key: &Bytes, version: &Versioned, writer: &mut ReplyWriter<'_>) {
    writer.array(4);
    writer.bulk(key);
    writer.bulk(&version.value);
    writer.integer(to_integer(version.revision.get()));
    match version.expires_at_ms {
        0 => writer.null(),
        at_ms => writer.integer(to_integer(at_ms)),
    }
}

/// The word that an error's text starts with, by which clients tell errors apart.
fn code(error: &CommandError) -> &'static str {
    match error {
        CommandError::KeyExists => "KEYEXISTS",
        CommandError::KeyMissing => "NOTFOUND",
        CommandError::ConditionFailed { .. } => "CONDITIONFAILED",
        CommandError::NotAnInteger
        | CommandError::IntegerOverflow
        | CommandError::KeyTooLong { .. }
        | CommandError::ValueTooLong { .. }
        | CommandError::TooManyKeys { .. }
        | CommandError::ReplyTooLong { .. }
        | CommandError::InvalidExpiry
        | CommandError::NestedTransaction => "ERR",
    }
}

fn time_left(time: &TimeToLive, of: impl Fn(u64, u64) -> u64) -> i64 {
    match time {
        TimeToLive::Missing => -2,
        TimeToLive::Never => -1,
        TimeToLive::Expires { at_ms, in_ms } => to_integer(of(*at_ms, *in_ms)),
    }
}

/// Milliseconds as the nearest number of seconds.
fn rounded(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}

fn to_integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
