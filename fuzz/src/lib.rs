//! What each fuzz target does with its input. None may panic, whatever the bytes.

mod disk;
mod payload;
mod protocol;
mod statement;
mod transport;

/// A target: what it is called, what it does, and inputs to start from.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Runs it on one input.
    pub run: fn(&[u8]),
    /// Inputs that get far.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub static TARGETS: [Target; 11] = [
    Target { name: "resp_request", run: protocol::resp_request, seeds: protocol::request_seeds },
    Target { name: "redis_command", run: protocol::redis_command, seeds: protocol::command_seeds },
    Target { name: "statement", run: statement::statement, seeds: statement::seeds },
    Target { name: "payload", run: payload::payload, seeds: payload::seeds },
    Target { name: "page", run: disk::page, seeds: disk::page_seeds },
    Target { name: "segment", run: disk::segment, seeds: disk::segment_seeds },
    Target { name: "image", run: disk::image, seeds: disk::image_seeds },
    Target { name: "frame_head", run: disk::frame_head, seeds: disk::frame_head_seeds },
    Target { name: "transport_frames", run: transport::frames, seeds: transport::frame_seeds },
    Target { name: "transport_handshake", run: transport::handshake, seeds: transport::handshake_seeds },
    Target { name: "log", run: disk::log, seeds: disk::log_seeds },
];

/// Runs the target with this name.
///
/// # Panics
/// If there is none, or if it found something.
pub fn run(name: &str, data: &[u8]) {
    match TARGETS.iter().find(|target| target.name == name) {
        Some(target) => (target.run)(data),
        None => panic!("there is no target {name}"),
    }
}
