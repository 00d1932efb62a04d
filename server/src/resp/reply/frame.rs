//! Replies as values, for what is not on the hot path.

use super::ReplyWriter;
use bytes::Bytes;
use std::borrow::Cow;

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// A status; one line.
    Simple(Cow<'static, str>),
    /// An error, its code first.
    Error(Cow<'static, str>),
    /// An integer.
    Integer(i64),
    /// A string of any bytes.
    Bulk(Bytes),
    /// There is no value.
    Null,
    /// There is no array where one could have been.
    NullArray,
    /// A boolean.
    Boolean(bool),
    /// A number with a fraction.
    Double(f64),
    /// Replies in order.
    Array(Vec<Frame>),
    /// Pairs of replies.
    Map(Vec<(Frame, Frame)>),
    /// Replies without order.
    Set(Vec<Frame>),
}

impl Frame {
    /// `+OK`.
    pub const OK: Frame = Frame::Simple(Cow::Borrowed("OK"));

    /// A status.
    pub fn simple(text: impl Into<Cow<'static, str>>) -> Frame {
        Frame::Simple(text.into())
    }

    /// An error, its code first.
    pub fn error(text: impl Into<Cow<'static, str>>) -> Frame {
        Frame::Error(text.into())
    }

    /// A string of any bytes.
    pub fn bulk(bytes: impl Into<Bytes>) -> Frame {
        Frame::Bulk(bytes.into())
    }

    /// Writes the reply. Its depth is that of what the server made, never of what a client sent.
    pub fn write(&self, writer: &mut ReplyWriter<'_>) {
        match self {
            Frame::Simple(text) => writer.simple(text),
            Frame::Error(text) => writer.error(text),
            Frame::Integer(number) => writer.integer(*number),
            Frame::Bulk(bytes) => writer.bulk(bytes),
            Frame::Null => writer.null(),
            Frame::NullArray => writer.null_array(),
            Frame::Boolean(value) => writer.boolean(*value),
            Frame::Double(number) => writer.double(*number),
            Frame::Array(elements) => {
                writer.array(elements.len());
                elements.iter().for_each(|element| element.write(writer));
            }
            Frame::Map(pairs) => {
                writer.map(pairs.len());
                for (key, value) in pairs {
                    key.write(writer);
                    value.write(writer);
                }
            }
            Frame::Set(elements) => {
                writer.set(elements.len());
                elements.iter().for_each(|element| element.write(writer));
            }
        }
    }
}
