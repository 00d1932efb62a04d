//! etcd's gRPC interface as far as measuring needs it: puts, transactions of puts, linearizable reads, status.
//!
//! The messages have the field numbers of etcd's `api/etcdserverpb/rpc.proto`; fields that aren't needed are left out, which
//! protocol buffers allow in both directions. A test holds the encoding to bytes.

use crate::workload::Workload;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const TXN: &str = "/etcdserverpb.KV/Txn";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";

/// A call failed.
#[derive(Debug, Error)]
pub enum EtcdError {
    /// No runtime for it.
    #[error("no runtime: {0}")]
    Runtime(#[from] std::io::Error),
    /// No connection.
    #[error("connection: {0}")]
    Connection(#[from] tonic::transport::Error),
    /// The server refused, or the connection ended.
    #[error("{:?}: {}", .0.code(), .0.message())]
    Refused(Box<Status>),
}

impl From<Status> for EtcdError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl EtcdError {
    /// Whether another try may succeed: there is no leader, it changed, the server is gone or overloaded.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Runtime(_) => false,
            Self::Connection(_) => true,
            Self::Refused(status) => matches!(
                status.code(),
                Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled | Code::Unknown
            ),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    pairs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TxnRequest {
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RequestOp {
    #[prost(message, optional, tag = "2")]
    put: Option<PutRequest>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TxnResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint64, tag = "4")]
    leader: u64,
    #[prost(uint64, tag = "7")]
    applied: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    member: u64,
}

/// What a member says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberStatus {
    /// There is a leader, and it is this member.
    pub is_leader: bool,
    /// This member knows a leader.
    pub has_leader: bool,
    /// Position up to which it has executed the log.
    pub applied: u64,
}

/// A connection; clones share it.
#[derive(Debug, Clone)]
pub struct EtcdClient {
    grpc: Grpc<Channel>,
}

impl EtcdClient {
    /// Connects; calls fail after `timeout`.
    pub async fn connect(address: SocketAddr, timeout: Duration) -> Result<Self, EtcdError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        let channel = endpoint.connect_timeout(timeout).timeout(timeout).tcp_nodelay(true).connect().await?;
        Ok(Self { grpc: Grpc::new(channel) })
    }

    async fn call<Q, A>(&mut self, method: &'static str, request: Q) -> Result<A, EtcdError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        self.grpc.ready().await?;
        let codec = ProstCodec::<Q, A>::default();
        Ok(self.grpc.unary(Request::new(request), PathAndQuery::from_static(method), codec).await?.into_inner())
    }

    /// Writes keys with these numbers and versions: one by a put, several by one transaction, which must not
    /// have the same key twice.
    pub async fn write(&mut self, workload: &Workload, writes: &[(u64, u64)]) -> Result<(), EtcdError> {
        let put = |&(number, version): &(u64, u64)| {
            let mut value = Vec::with_capacity(workload.value_bytes());
            workload.append_value(number, version, &mut value);
            PutRequest { key: workload.key(number).to_vec(), value }
        };
        if let [single] = writes {
            self.call::<_, PutResponse>(PUT, put(single)).await?;
        } else {
            let success = writes.iter().map(|write| RequestOp { put: Some(put(write)) }).collect();
            self.call::<_, TxnResponse>(TXN, TxnRequest { success }).await?;
        }
        Ok(())
    }

    /// Reads a key, linearizably, as is etcd's default.
    pub async fn read(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, EtcdError> {
        let response: RangeResponse = self.call(RANGE, RangeRequest { key: key.to_vec() }).await?;
        Ok(response.pairs.into_iter().next().map(|pair| pair.value))
    }

    /// Asks the member about itself.
    pub async fn status(&mut self) -> Result<MemberStatus, EtcdError> {
        let response: StatusResponse = self.call(STATUS, StatusRequest {}).await?;
        let member = response.header.map(|header| header.member).unwrap_or_default();
        let has_leader = response.leader != 0;
        let is_leader = has_leader && response.leader == member;
        Ok(MemberStatus { is_leader, has_leader, applied: response.applied })
    }
}

/// A connection for single requests, from code that isn't asynchronous.
#[derive(Debug)]
pub struct BlockingClient {
    // Dropped first: its connection belongs to the runtime.
    client: EtcdClient,
    runtime: Runtime,
}

impl BlockingClient {
    /// Connects; calls fail after `timeout`.
    pub fn connect(address: SocketAddr, timeout: Duration) -> Result<Self, EtcdError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(EtcdClient::connect(address, timeout))?;
        Ok(Self { client, runtime })
    }

    /// See [`EtcdClient::read`].
    pub fn read(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, EtcdError> {
        self.runtime.block_on(self.client.read(key))
    }

    /// See [`EtcdClient::write`].
    pub fn write(&mut self, workload: &Workload, writes: &[(u64, u64)]) -> Result<(), EtcdError> {
        self.runtime.block_on(self.client.write(workload, writes))
    }

    /// See [`EtcdClient::status`].
    pub fn status(&mut self) -> Result<MemberStatus, EtcdError> {
        self.runtime.block_on(self.client.status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn messages_have_the_numbers_of_the_interface() {
        let put = PutRequest { key: b"k".to_vec(), value: b"v".to_vec() };
        assert_eq!(put.encode_to_vec(), b"\x0a\x01k\x12\x01v");
        let transaction = TxnRequest { success: vec![RequestOp { put: Some(put) }] };
        assert_eq!(transaction.encode_to_vec(), b"\x12\x08\x12\x06\x0a\x01k\x12\x01v");
        // header {member 7}, an unknown field 2 ("3.4"), leader 7, applied 9
        let status = StatusResponse::decode(&b"\x0a\x02\x10\x07\x12\x033.4\x20\x07\x38\x09"[..]).unwrap();
        assert_eq!((status.leader, status.applied, status.header.unwrap().member), (7, 9, 7));
        // header {}, one pair {key "k", value "v"}, count 1
        let range = RangeResponse::decode(&b"\x0a\x00\x12\x06\x0a\x01k\x2a\x01v\x20\x01"[..]).unwrap();
        assert_eq!(range.pairs, [KeyValue { value: b"v".to_vec() }]);
    }

    #[test]
    fn only_what_can_pass_is_tried_again() {
        assert!(EtcdError::from(Status::new(Code::Unavailable, "etcdserver: leader changed")).is_passing());
        assert!(EtcdError::from(Status::new(Code::Unknown, "transport error")).is_passing());
        assert!(!EtcdError::from(Status::new(Code::InvalidArgument, "duplicate key")).is_passing());
    }
}
