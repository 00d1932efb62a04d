//! What the server tells of itself: INFO, CONFIG GET, SHOW, EXPLAIN.

mod recovery;
mod replication;

pub(crate) use replication::redis_role;

use crate::io_thread::ServerContext;
use crate::resp::Frame;
use crate::statement::ShowTopic;
use bytes::Bytes;
use skink_engine::command::{Access, Command, Footprint, Pattern};
use skink_replication::replica::Phase;
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// The version of Redis whose commands clients may expect.
pub(crate) const REDIS_VERSION: &str = "7.0.0";
/// The version of Skink.
pub(crate) const SKINK_VERSION: &str = env!("CARGO_PKG_VERSION");

type Fields = Vec<(&'static str, String)>;

/// The sections of INFO.
fn sections(server: &ServerContext) -> Vec<(&'static str, Fields)> {
    let replica = &server.replica;
    let engine = replica.engine();
    let statistics = replica.statistics();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed).to_string();
    let status = replica.status();
    let is_loading = replica.phase() == Phase::Replaying || replication::is_catching_up(&status);
    let (keys, expiring) = (engine.key_count(), engine.expiring_count());
    let mut all = vec![
        (
            "Server",
            vec![
                ("redis_version", REDIS_VERSION.to_string()),
                ("skink_version", SKINK_VERSION.to_string()),
                ("redis_mode", "standalone".to_string()),
                ("arch_bits", usize::BITS.to_string()),
                ("process_id", std::process::id().to_string()),
                ("tcp_port", server.address.port().to_string()),
                ("uptime_in_seconds", server.started.elapsed().as_secs().to_string()),
                ("uptime_in_days", (server.started.elapsed().as_secs() / 86_400).to_string()),
            ],
        ),
        (
            "Clients",
            vec![
                ("connected_clients", server.connections.load(Ordering::Relaxed).to_string()),
                ("maxclients", server.config.max_connections.to_string()),
            ],
        ),
        ("Memory", memory()),
        (
            "Persistence",
            vec![
                // Requests are answered, or wait, while the replica catches up: a client need not.
                ("loading", "0".to_string()),
                ("async_loading", u8::from(is_loading).to_string()),
                ("replayed_commands", count(&statistics.replayed_commands)),
                ("replay_batches", count(&statistics.replay_total_batches)),
                ("rdb_last_save_time", (statistics.last_checkpoint_ms.load(Ordering::Relaxed) / 1000).to_string()),
                ("aof_enabled", "1".to_string()),
                ("last_checkpoint_instance", replica.last_checkpoint().to_string()),
                ("instance", count(&statistics.instance)),
                ("writes_wait_for_disk_space", u8::from(replica.is_stalled()).to_string()),
            ],
        ),
        (
            "Stats",
            vec![
                ("total_connections_received", count(&server.connections_total)),
                ("total_commands_processed", count(&server.requests)),
                ("rejected_connections", count(&server.connections_refused)),
                ("ordered_commands", count(&statistics.commands)),
                ("ordered_batches", count(&statistics.batches)),
                ("parallel_batches", count(&statistics.parallel_batches)),
                ("log_writes", count(&statistics.cycles)),
                ("parked_reads", count(&statistics.parked_reads)),
                ("early_reads", count(&statistics.early_reads)),
                ("parked_batches", count(&statistics.parked_batches)),
                ("early_commands", count(&statistics.early_commands)),
                ("checkpoints", count(&statistics.checkpoints)),
            ],
        ),
        ("Replication", replication::info(&status)),
        ("Recovery", replica.recovery().map(|report| recovery::info(&report)).unwrap_or_default()),
        (
            "Skink",
            vec![
                ("segments", engine.segment_count().to_string()),
                ("segments_installed", engine.installed_count().to_string()),
                ("live_bytes", engine.live_bytes().to_string()),
            ],
        ),
        ("Cluster", vec![("cluster_enabled", "0".to_string())]),
    ];
    if keys > 0 {
        all.push(("Keyspace", vec![("db0", format!("keys={keys},expires={expiring},avg_ttl=0"))]));
    } else {
        all.push(("Keyspace", Vec::new()));
    }
    all
}

/// Resident memory, without the pages of mapped files, which the system takes back when it needs them.
fn memory() -> Fields {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        (kib.unwrap_or(0) * 1024).to_string()
    };
    vec![
        ("used_memory", bytes("RssAnon:")),
        ("used_memory_rss", bytes("VmRSS:")),
        ("maxmemory", "0".to_string()),
        ("maxmemory_policy", "noeviction".to_string()),
    ]
}

/// The text of INFO.
pub(crate) fn info(server: &ServerContext, wanted: &[Bytes]) -> String {
    let is_wanted = |name: &str| {
        wanted.is_empty()
            || wanted.iter().any(|section| {
                [name.as_bytes(), b"all", b"everything", b"default"]
                    .iter()
                    .any(|known| section.eq_ignore_ascii_case(known))
            })
    };
    let mut text = String::new();
    for (name, fields) in sections(server).into_iter().filter(|(name, _)| is_wanted(name)) {
        let separator = if text.is_empty() { "" } else { "\r\n" };
        let _ = write!(text, "{separator}# {name}\r\n");
        for (field, value) in fields {
            let _ = write!(text, "{field}:{value}\r\n");
        }
    }
    text
}

/// Settings by their names; those that Redis' tools ask for have Redis' names.
fn settings(server: &ServerContext) -> Vec<(&'static str, String)> {
    let config = &server.config;
    let shape = server.replica.engine().format().shape;
    let mut all = vec![
        ("appendfsync", "always".to_string()),
        ("appendonly", "yes".to_string()),
        ("bind", server.address.ip().to_string()),
        ("checkpoint.interval_seconds", config.replica.checkpoint_interval.as_secs().to_string()),
        ("checkpoint.log_bytes", config.replica.checkpoint_log_bytes.to_string()),
        ("databases", "1".to_string()),
        ("dir", config.data.display().to_string()),
        ("io_threads", config.effective_io_threads().to_string()),
        ("limits.max_value_bytes", shape.max_value_len.to_string()),
        ("log.file_bytes", server.replica.engine().format().log_file_len.to_string()),
        ("maxclients", config.max_connections.to_string()),
        ("maxmemory", "0".to_string()),
        ("maxmemory-policy", "noeviction".to_string()),
        ("port", server.address.port().to_string()),
        ("proto-max-bulk-len", shape.max_value_len.to_string()),
        ("save", String::new()),
        ("recovery.mode", config.replica.recovery.to_string()),
        ("scheduler", config.replica.scheduler.to_string()),
        ("segments", shape.segments.to_string()),
        ("timeout", "0".to_string()),
        ("workers", config.replica.workers.to_string()),
    ];
    if let Some(cluster) = &config.replica.cluster {
        all.extend(replication::settings(cluster));
        all.sort_unstable_by_key(|(name, _)| *name);
    }
    all
}

/// The reply to CONFIG GET.
pub(crate) fn config(server: &ServerContext, patterns: &[Bytes]) -> Frame {
    let patterns: Vec<Pattern> =
        patterns.iter().map(|pattern| Pattern::Glob(pattern.to_ascii_lowercase().into())).collect();
    let matching = settings(server)
        .into_iter()
        .filter(|(name, _)| patterns.iter().any(|pattern| pattern.matches(name.as_bytes())));
    Frame::Map(matching.map(|(name, value)| (Frame::bulk(name), Frame::bulk(value.into_bytes()))).collect())
}

/// The rows of SHOW; the first has the columns' names.
pub(crate) fn show(server: &ServerContext, topic: ShowTopic) -> Vec<Vec<String>> {
    let pairs = |fields: Vec<(&str, String)>| {
        let rows = fields.into_iter().map(|(name, value)| vec![name.to_string(), value]);
        std::iter::once(vec!["name".to_string(), "value".to_string()]).chain(rows).collect()
    };
    let replica = &server.replica;
    let engine = replica.engine();
    let statistics = replica.statistics();
    let state = match replica.phase() {
        Phase::Replaying => "replaying",
        Phase::Serving => "serving",
        Phase::Stopped => "stopped",
    };
    match topic {
        ShowTopic::Status => pairs(sections(server).into_iter().flat_map(|(_, fields)| fields).collect()),
        ShowTopic::Config => pairs(settings(server)),
        ShowTopic::Replicas => replication::rows(&replica.status()),
        ShowTopic::Recovery => {
            let mut fields = match replica.recovery() {
                Some(report) => recovery::rows(&report, statistics),
                None => vec![
                    ("state", state.to_string()),
                    ("replayed_commands", statistics.replayed_commands.load(Ordering::Relaxed).to_string()),
                    ("replay_batches", statistics.replay_total_batches.load(Ordering::Relaxed).to_string()),
                ],
            };
            fields.push(("segments_installed", engine.installed_count().to_string()));
            fields.push(("segments", engine.segment_count().to_string()));
            pairs(fields)
        }
        ShowTopic::Segments => {
            let names = ["segment", "generation", "bytes", "keys", "live_bytes", "digest"].map(String::from).to_vec();
            let rows = engine.segment_cuts().into_iter().enumerate().map(|(number, cut)| {
                vec![
                    number.to_string(),
                    cut.generation.to_string(),
                    cut.length.to_string(),
                    cut.totals.live_records.to_string(),
                    cut.totals.live_bytes.to_string(),
                    format!("{:016x}", cut.totals.digest),
                ]
            });
            std::iter::once(names).chain(rows).collect()
        }
        ShowTopic::Checkpoints => {
            let names = ["instance", "folder"].map(String::from).to_vec();
            let rows = engine.kept_checkpoints().into_iter();
            std::iter::once(names)
                .chain(rows.map(|(instance, folder)| vec![instance.to_string(), folder.display().to_string()]))
                .collect()
        }
    }
}

/// What a command would touch and wait for.
pub(crate) fn explain(server: &ServerContext, command: &Command, reads_stale: bool) -> Vec<String> {
    let engine = server.replica.engine();
    let mut lines = Vec::new();
    let footprint = command.footprint(&mut |key, access| {
        let hash = engine.hash(key);
        let segment = hash.segment(engine.format().shape.segments);
        lines.push(format!(
            "{} {}: segment {}, digest {:08x}",
            if access == Access::Write { "write" } else { "read" },
            crate::statement::Literal(key),
            segment.0,
            hash.digest()
        ));
    });
    if footprint == Footprint::Everything {
        lines.push("every segment, at one point between two batches".to_string());
    }
    let course = if !command.is_read_only() {
        "ordered: one log write with what gathers meanwhile, then executed"
    } else if reads_stale {
        "read-only: from this replica's state at once, which may be behind that of others"
    } else {
        "read-only: not ordered; waits for this connection's earlier writes"
    };
    lines.push(course.to_string());
    lines
}
