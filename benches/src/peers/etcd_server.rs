//! etcd: a member of a cluster, with its defaults where they don't hinder a measurement.
//!
//! Every write is synced before it counts, as is etcd's rule. Two defaults are changed in its favour: space for as
//! much as a run writes, and old revisions go in the background, as its manual recommends.

use super::server::ServerCommand;

/// Name of the contender.
pub const NAME: &str = "etcd";
/// The program.
pub const PROGRAM: &str = "etcd";

/// The most that etcd's manual allows.
const QUOTA_BYTES: u64 = 8 << 30;
/// Some 20 s of updates.
const KEPT_REVISIONS: u64 = 100_000;

/// How to start member `member` (from 0) of a new cluster, whose peers find each other at `peer_ports`; the data
/// folder decides whether it starts anew or again.
pub fn command(member: usize, peer_ports: &[u16]) -> ServerCommand {
    let name = |member: usize| format!("member-{}", member + 1);
    let url = |port: &str| format!("http://127.0.0.1:{port}");
    let cluster: Vec<String> = peer_ports
        .iter()
        .enumerate()
        .map(|(member, port)| format!("{}={}", name(member), url(&port.to_string())))
        .collect();
    let peer_url = peer_ports.get(member).map(|port| url(&port.to_string())).unwrap_or_default();
    let arguments = [
        ("--name", name(member)),
        ("--data-dir", "{dir}".to_owned()),
        ("--listen-client-urls", url("{port}")),
        ("--advertise-client-urls", url("{port}")),
        ("--listen-peer-urls", peer_url.clone()),
        ("--initial-advertise-peer-urls", peer_url),
        ("--initial-cluster", cluster.join(",")),
        ("--initial-cluster-state", "new".to_owned()),
        ("--quota-backend-bytes", QUOTA_BYTES.to_string()),
        ("--auto-compaction-mode", "revision".to_owned()),
        ("--auto-compaction-retention", KEPT_REVISIONS.to_string()),
        ("--logger", "zap".to_owned()),
        ("--log-level", "error".to_owned()),
    ];
    ServerCommand::new(NAME, PROGRAM, arguments.into_iter().flat_map(|(option, value)| [option.to_owned(), value]))
}
