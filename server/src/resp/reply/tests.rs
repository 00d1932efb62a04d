//! Golden bytes for both versions, and what another implementation reads from ours.

use super::{Frame, ProtocolVersion, ReplyWriter};
use bytes::{Bytes, BytesMut};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use redis_protocol::{resp2, resp3};

fn encode(frame: &Frame, version: ProtocolVersion) -> BytesMut {
    let mut out = BytesMut::new();
    frame.write(&mut ReplyWriter::new(&mut out, version));
    out
}

#[test]
fn replies_have_these_bytes() {
    let cases = [
        (Frame::OK, "+OK\r\n", "+OK\r\n"),
        (Frame::simple("a\r\n+OK\n"), "+a  +OK \r\n", "+a  +OK \r\n"),
        (Frame::error("ERR a\r\n:1\r\n"), "-ERR a  :1  \r\n", "-ERR a  :1  \r\n"),
        (Frame::Integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
        (Frame::bulk("a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"),
        (Frame::bulk(""), "$0\r\n\r\n", "$0\r\n\r\n"),
        (Frame::Null, "$-1\r\n", "_\r\n"),
        (Frame::NullArray, "*-1\r\n", "_\r\n"),
        (Frame::Boolean(true), ":1\r\n", "#t\r\n"),
        (Frame::Boolean(false), ":0\r\n", "#f\r\n"),
        (Frame::Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
        (Frame::Double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
        (Frame::Double(f64::NAN), "$3\r\nnan\r\n", ",nan\r\n"),
        (Frame::Array(vec![]), "*0\r\n", "*0\r\n"),
        (Frame::Array(vec![Frame::Null, Frame::Integer(1)]), "*2\r\n$-1\r\n:1\r\n", "*2\r\n_\r\n:1\r\n"),
        (
            Frame::Map(vec![(Frame::bulk("k"), Frame::Map(vec![]))]),
            "*2\r\n$1\r\nk\r\n*0\r\n",
            "%1\r\n$1\r\nk\r\n%0\r\n",
        ),
        (Frame::Set(vec![Frame::OK]), "*1\r\n+OK\r\n", "~1\r\n+OK\r\n"),
    ];
    for (frame, resp2, resp3) in cases {
        assert_eq!(encode(&frame, ProtocolVersion::Resp2), resp2, "{frame:?}");
        assert_eq!(encode(&frame, ProtocolVersion::Resp3), resp3, "{frame:?}");
    }
}

/// What a RESP2 client sees of a reply.
fn seen_by_resp2(frame: &Frame) -> resp2::types::BytesFrame {
    use resp2::types::BytesFrame as Seen;
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    match frame {
        Frame::Simple(simple) => Seen::SimpleString(text(simple)),
        Frame::Error(error) => Seen::Error(error.as_ref().into()),
        Frame::Integer(number) => Seen::Integer(*number),
        Frame::Bulk(bytes) => Seen::BulkString(bytes.clone()),
        Frame::Null | Frame::NullArray => Seen::Null,
        Frame::Boolean(value) => Seen::Integer(i64::from(*value)),
        Frame::Double(number) => Seen::BulkString(text(&number.to_string())),
        Frame::Array(elements) | Frame::Set(elements) => Seen::Array(elements.iter().map(seen_by_resp2).collect()),
        Frame::Map(pairs) => {
            Seen::Array(pairs.iter().flat_map(|(key, value)| [seen_by_resp2(key), seen_by_resp2(value)]).collect())
        }
    }
}

/// What a RESP3 client sees of a reply.
fn seen_by_resp3(frame: &Frame) -> resp3::types::BytesFrame {
    use resp3::types::BytesFrame as Seen;
    let attributes = None;
    match frame {
        Frame::Simple(simple) => Seen::SimpleString { data: Bytes::copy_from_slice(simple.as_bytes()), attributes },
        Frame::Error(error) => Seen::SimpleError { data: error.as_ref().into(), attributes },
        Frame::Integer(number) => Seen::Number { data: *number, attributes },
        Frame::Bulk(bytes) => Seen::BlobString { data: bytes.clone(), attributes },
        Frame::Null | Frame::NullArray => Seen::Null,
        Frame::Boolean(value) => Seen::Boolean { data: *value, attributes },
        Frame::Double(number) => Seen::Double { data: *number, attributes },
        Frame::Array(elements) => Seen::Array { data: elements.iter().map(seen_by_resp3).collect(), attributes },
        Frame::Set(elements) => Seen::Set { data: elements.iter().map(seen_by_resp3).collect(), attributes },
        Frame::Map(pairs) => Seen::Map {
            data: pairs.iter().map(|(key, value)| (seen_by_resp3(key), seen_by_resp3(value))).collect(),
            attributes,
        },
    }
}

fn frame() -> impl Strategy<Value = Frame> {
    let leaf = prop_oneof![
        "[ -~]{0,20}".prop_map(Frame::simple),
        "[A-Z]{3,9} [ -~]{0,20}".prop_map(Frame::error),
        any::<i64>().prop_map(Frame::Integer),
        vec(any::<u8>(), 0..40).prop_map(Frame::bulk),
        Just(Frame::Null),
        Just(Frame::NullArray),
        any::<bool>().prop_map(Frame::Boolean),
        (-1000.0..1000.0).prop_map(Frame::Double),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Frame::Array),
            // The other side takes only plain values for a set's elements, and equal ones for one.
            btree_set("[a-z]{0,3}", 0..4)
                .prop_map(|elements| Frame::Set(elements.into_iter().map(Frame::simple).collect())),
            btree_map(vec(any::<u8>(), 0..9), inner, 0..4).prop_map(|pairs| Frame::Map(
                pairs.into_iter().map(|(key, value)| (Frame::bulk(key), value)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn another_resp2_implementation_reads_what_was_meant(frame in frame()) {
        let bytes = encode(&frame, ProtocolVersion::Resp2).freeze();
        let decoded = resp2::decode::decode_bytes(&bytes).unwrap();
        assert_eq!(decoded, Some((seen_by_resp2(&frame), bytes.len())));
    }

    #[test]
    fn another_resp3_implementation_reads_what_was_meant(frame in frame()) {
        let bytes = encode(&frame, ProtocolVersion::Resp3).freeze();
        let (decoded, len) = resp3::decode::complete::decode_bytes(&bytes).unwrap().unwrap();
        assert_eq!((decoded, len), (seen_by_resp3(&frame), bytes.len()));
    }
}
