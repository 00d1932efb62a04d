//! Whole requests: golden bytes, and properties over all ways to cut them.

use super::{Arguments, MAX_INLINE_LEN, ProtocolError, RequestDecoder, RequestLimits};
use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

const LIMITS: RequestLimits = RequestLimits { max_arguments: 100, max_bulk_len: 1000, max_request_len: 4000 };

fn decode_pieces<'a>(
    limits: RequestLimits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Arguments>, Option<ProtocolError>) {
    let (mut decoder, mut buffer, mut requests) = (RequestDecoder::new(limits), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(arguments)) => requests.push(arguments),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut buffer), Err(error), "an error stays");
                    return (requests, Some(error));
                }
            }
        }
        // What a client makes the decoder hold: arguments of an unfinished request, and what lies before the next.
        let held = decoder.arguments.iter().map(|argument| argument.len()).sum::<usize>() + buffer.len();
        assert!(held <= limits.max_request_len.max(MAX_INLINE_LEN), "{held} bytes are held");
        assert!(decoder.room(&buffer, 16) <= limits.max_bulk_len + 2);
    }
    (requests, None)
}

fn decode(bytes: &[u8]) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    let (requests, error) = decode_pieces(LIMITS, [bytes]);
    (requests.iter().map(|request| request.iter().map(|argument| argument.to_vec()).collect()).collect(), error)
}

fn encode(request: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for argument in request {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[test]
fn requests_of_both_kinds_follow_each_other() {
    let (requests, error) =
        decode(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\nPING\r\n\n\r\n*0\r\n*-1\r\n  \r\nset k 'v w'\n*1\r\n$4\r\na\r\nb\r\n*1\r\n$4\r\nQU");
    assert_eq!(error, None);
    let expected: &[&[&[u8]]] = &[&[b"GET", b""], &[b"PING"], &[b"set", b"k", b"v w"], &[b"a\r\nb"]];
    assert_eq!(requests, expected.iter().map(|r| r.iter().map(|a| a.to_vec()).collect()).collect::<Vec<Vec<_>>>());
}

#[test]
fn what_is_no_request_gets_redis_error_texts() {
    let long_line = vec![b'a'; MAX_INLINE_LEN + 1];
    let cases: &[(&[u8], &str)] = &[
        (b"*x\r\n", "invalid multibulk length"),
        (b"*101\r\n", "invalid multibulk length"),
        (b"*99999999999999999999", "invalid multibulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$1001\r\n", "invalid bulk length"),
        (b"*1\r\n$a\r\n", "invalid bulk length"),
        (b"*1\r\nGET\r\n", "expected '$', got 'G'"),
        (b"*1\r\n\x01", "expected '$', got '\\x01'"),
        (b"*1\r\n$3\r\nGETxx", "expected CRLF after a bulk string"),
        (b"GET \"k\r\n", "unbalanced quotes in request"),
        (&long_line, "too big inline request"),
        (b"POST / HTTP/1.1\r\n", "this is no HTTP server (possible cross protocol scripting)"),
        (b"host: localhost\r\n", "this is no HTTP server (possible cross protocol scripting)"),
    ];
    for (bytes, text) in cases {
        let error = decode(bytes).1.map(|error| error.to_string());
        assert_eq!(error, Some(format!("ERR Protocol error: {text}")), "{:?}", bytes.escape_ascii().to_string());
    }
}

#[test]
fn a_request_may_be_as_long_as_the_limit_and_no_longer() {
    let limits = |max_request_len| RequestLimits { max_request_len, ..LIMITS };
    let request = encode(&[b"SET".to_vec(), vec![7; 900], vec![8; 900]]);
    assert_eq!(decode_pieces(limits(request.len()), [&request[..]]).1, None);
    let max = request.len() - 1;
    assert_eq!(decode_pieces(limits(max), [&request[..]]).1, Some(ProtocolError::RequestTooLong { max }));
}

#[test]
fn arguments_are_not_copied() {
    let mut buffer = BytesMut::from(&b"*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n"[..]);
    let start = buffer.as_ptr();
    let arguments = RequestDecoder::new(LIMITS).decode(&mut buffer).unwrap().unwrap();
    assert_eq!(arguments[1].as_ptr(), start.wrapping_add(17));
    assert!(buffer.is_empty());
}

#[test]
fn a_claimed_length_takes_no_memory() {
    let limits = RequestLimits::new(512 << 20, 1 << 40);
    let mut decoder = RequestDecoder::new(limits);
    let mut buffer = BytesMut::from(&b"*1048576\r\n$536870912\r\nab"[..]);
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
    assert_eq!((decoder.arguments.capacity(), decoder.room(&buffer, 100)), (4, 100));
    buffer.resize(1000, 0);
    assert_eq!(decoder.room(&buffer, 100), 1000);
}

#[test]
fn limits_can_change_between_requests() {
    let mut decoder = RequestDecoder::new(RequestLimits::UNAUTHENTICATED);
    let mut buffer = BytesMut::from(&b"*1\r\n$4\r\nPING\r\n"[..]);
    assert!(decoder.decode(&mut buffer).unwrap().is_some());
    decoder.set_limits(LIMITS);
    buffer.extend_from_slice(b"*11\r\n");
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
}

/// Bytes cut at some points.
fn pieces(bytes: Vec<u8>) -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    let len = bytes.len();
    (Just(bytes), vec(0..=len, 0..12)).prop_map(|(bytes, mut cuts)| {
        cuts.push(bytes.len());
        cuts.sort_unstable();
        (bytes, cuts)
    })
}

fn cut<'a>(bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    cuts.iter().scan(0, |start, &end| Some(&bytes[std::mem::replace(start, end)..end]))
}

fn request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..40), 1..8)
}

proptest! {
    #[test]
    fn requests_come_out_the_same_however_they_are_cut(
        (requests, (bytes, cuts)) in vec(request(), 1..6).prop_flat_map(|requests| {
            let bytes = requests.iter().flat_map(|request| encode(request)).collect();
            (Just(requests), pieces(bytes))
        })
    ) {
        let (decoded, error) = decode_pieces(LIMITS, cut(&bytes, &cuts));
        assert_eq!(error, None);
        assert_eq!(decoded.len(), requests.len());
        for (decoded, request) in decoded.iter().zip(&requests) {
            assert!(decoded.iter().map(|argument| argument.as_ref()).eq(request.iter().map(Vec::as_slice)));
        }
        assert_eq!(decode_pieces(LIMITS, bytes.chunks(1)).0, decoded);
    }

    #[test]
    fn any_bytes_give_the_same_however_they_are_cut(
        (bytes, cuts) in vec(
            prop_oneof![
                4 => vec(any::<u8>(), 0..4),
                1 => Just(b"\r\n".to_vec()),
                1 => "[*$]-?[0-9]{1,4}\r\n".prop_map(String::into_bytes),
                1 => "[a-z \"'\\\\]{0,9}\r?\n".prop_map(String::into_bytes),
                1 => request().prop_map(|request| encode(&request)),
            ],
            0..20,
        ).prop_flat_map(|parts| pieces(parts.concat()))
    ) {
        assert_eq!(decode_pieces(LIMITS, cut(&bytes, &cuts)), decode_pieces(LIMITS, [&bytes[..]]));
    }
}
