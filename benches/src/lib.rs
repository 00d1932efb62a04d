//! Measurements of Skink against its peers: Redis and etcd over TCP, and sled, redb, fjall, LMDB and RocksDB as
//! embedded engines.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`workload`] | keys, values and pickers: what is written and read, the same for every contender |
//! | [`resp`] | requests and replies of the Redis protocol, and a small blocking client |
//! | [`load`] | the closed-loop load generator over TCP |
//! | `etcd` | etcd's gRPC interface (feature `etcd`) |
//! | [`cluster`] | contenders of one or several replicas, and what is done to them |
//! | [`embedded`] | the same for an engine inside this process |
//! | [`peers`] | the contenders: one file each |
//! | [`histogram`] | latencies |
//! | [`report`] | interleaved rounds, medians, ratios, goals, tables |
//! | [`plot`] | curves as SVG and CSV |
//! | [`figures`] | memory, disk and written bytes, read from the kernel |
//! | [`schedule`] | schedulers: what they cost, and what they let run side by side |
//! | [`cli`] | arguments that the programs share |
//! | [`child`] | embedded engines in a process of their own, for restarts and memory |
//!
//! Two rules hold everywhere. Contenders take turns within one run, because the same machine moves by tens of
//! percent within hours; and nothing runs unbounded: every loop ends by count, by time or by its deadline.

pub mod child;
pub mod cli;
pub mod cluster;
pub mod embedded;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod figures;
pub mod histogram;
pub mod load;
pub mod peers;
pub mod plot;
pub mod report;
pub mod resp;
pub mod schedule;
pub mod workload;
