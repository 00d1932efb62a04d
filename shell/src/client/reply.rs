//! What a server answers with, in either version of the protocol.

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A status, such as `OK`.
    Status(String),
    /// An error; its first word is its code.
    Error(String),
    /// A number.
    Integer(i64),
    /// A string of any bytes.
    Bulk(Vec<u8>),
    /// A string that is meant to be shown as it is.
    Verbatim(Vec<u8>),
    /// That there is nothing.
    Null,
    /// A boolean.
    Boolean(bool),
    /// A number with a fraction.
    Double(f64),
    /// A number of any size, in decimal.
    BigNumber(String),
    /// Replies in order.
    Array(Vec<Reply>),
    /// Replies without an order.
    Set(Vec<Reply>),
    /// Pairs.
    Map(Vec<(Reply, Reply)>),
    /// A message that answers no request.
    Push(Vec<Reply>),
}
