//! The commands of Redis' protocol, Skink's own among them: from arguments to a [`Request`], and from the
//! engine's [`Reply`](skink_engine::command::Reply) to bytes. Nothing here does IO or keeps state.
//!
//! ```text
//! arguments -> find (table) -> CommandSpec::parse (a family) -> Request::Execute(command, shape) -> the engine
//!                                                            \-> Request::Connection(request)   -> the connection
//! reply of the engine, shape -> encode_reply -> bytes
//! ```
//!
//! One table ([`table`]) says all there is to know of each command; look-up, arity, `COMMAND` and `HELP` come
//! from it. Its rows stand beside the code that parses them, one file per family.

pub mod catalog;
pub mod table;

mod arguments;
mod encode;
mod error;
mod request;
mod shape;

mod administration;
mod connection;
mod expiry;
mod keys;
mod membership;
mod parts;
mod records;
mod transactions;
mod values;

#[cfg(test)]
mod tests;

pub use encode::encode_reply;
pub use error::RequestError;
pub use request::{
    ClientAttribute, CommandQuery, ConnectionRequest, Credentials, Hello, Password, Request, WRONG_PASSWORD,
};
pub use shape::Shape;
pub use table::{CommandSpec, Flags, find};
pub use transactions::transaction;

use crate::resp::Arguments;

/// What a request's arguments ask for.
///
/// A connection that first wants to know which command it is (before authentication, or after `MULTI`) calls
/// [`find`] and then [`CommandSpec::parse`], which is the same.
///
/// # Errors
/// There is no such command, or it does not take these arguments; the error's text is the reply.
pub fn parse(arguments: Arguments) -> Result<Request, RequestError> {
    find(&arguments)?.parse(arguments)
}
