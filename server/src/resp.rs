//! RESP, the protocol of Redis: bytes to requests, replies to bytes. Nothing here does IO or knows a command.

mod integer;
mod reply;
mod request;

pub use integer::parse_integer;
pub use reply::{Frame, ProtocolVersion, ReplyWriter};
pub use request::{Arguments, MAX_ARGUMENTS, MAX_INLINE_LEN, ProtocolError, RequestDecoder, RequestLimits};
