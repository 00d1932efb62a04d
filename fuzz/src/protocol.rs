//! Requests: their decoding from pieces, and what their arguments mean.

use bytes::{Bytes, BytesMut};
use skink_engine::evaluate::Context;
use skink_engine::position::Instance;
use skink_engine::testing::state::MapState;
use skink_server::redis::{Request, encode_reply, parse};
use skink_server::resp::{Arguments, ProtocolError, ProtocolVersion, RequestDecoder, RequestLimits};

const LIMITS: RequestLimits = RequestLimits { max_arguments: 64, max_bulk_len: 4096, max_request_len: 16_384 };
const MAX_VALUE_LEN: usize = 64 << 10;

fn decode<'d>(pieces: impl Iterator<Item = &'d [u8]>) -> (Vec<Arguments>, Option<ProtocolError>) {
    let (mut decoder, mut buffer, mut requests) = (RequestDecoder::new(LIMITS), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(arguments)) => requests.push(arguments),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

/// The same requests come out of the bytes as a whole and in pieces; the first byte says how long those are.
pub fn resp_request(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else { return };
    let whole = decode(std::iter::once(bytes));
    let pieces = decode(bytes.chunks(usize::from(step).max(1)));
    assert_eq!(whole, pieces);
}

/// Seeds of [`resp_request`].
pub fn request_seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 4] = [
        b"\x01*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n*1\r\n$4\r\nPING\r\n",
        b"\x07PING\r\nset k 'v w' \"\\x41\\n\"\r\n\r\n",
        b"\x03*0\r\n*-1\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
        b"\xff*64\r\n$4096\r\n",
    ];
    texts.iter().map(|text| text.to_vec()).collect()
}

/// Arguments, each ended by a newline, are parsed; a command is executed, and its reply has an encoding.
pub fn redis_command(data: &[u8]) {
    let arguments: Arguments = data.split(|&byte| byte == b'\n').map(Bytes::copy_from_slice).collect();
    let Ok(Request::Execute { command, shape }) = parse(arguments) else { return };
    let mut state = MapState::new();
    for _ in 0..2 {
        let revision = Instance::ZERO.next().revision(0);
        let context = Context { revision, now_ms: 1_700_000_000_000, max_value_len: MAX_VALUE_LEN };
        let reply = state.execute(&command, context);
        for version in [ProtocolVersion::Resp2, ProtocolVersion::Resp3] {
            let mut out = BytesMut::new();
            encode_reply(&reply, &shape, version, &mut out);
            assert!(out.ends_with(b"\r\n"));
        }
    }
}

/// Seeds of [`redis_command`].
pub fn command_seeds() -> Vec<Vec<u8>> {
    let lines = [
        "SET k v EX 10 NX GET",
        "MSET a 1 b 2",
        "INCRBY k -5",
        "SETRANGE k 100 part",
        "GETRANGE k 0 -1",
        "EXPIRE k 10 GT",
        "SCAN 0 MATCH k* COUNT 10 TYPE string",
        "KEYS [a-z]*",
        "GETEX k PERSIST",
        "HELLO 3 AUTH default x SETNAME c",
        "CREATE k v PX 5",
        "UPDATE k v IFREVISION 7",
        "DELETE k IFVALUE v",
        "COMMAND DOCS get",
        "CLIENT SETINFO lib-name x",
        "WAIT 0 100",
        "STATEMENT ROWS READ",
    ];
    lines.iter().map(|line| line.replace(' ', "\n").into_bytes()).collect()
}
