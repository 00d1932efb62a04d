//! A session that is not complete yet: its first connection gave it a number, the others are being dialed.

use super::dial::Dial;
use super::event::Channel;
use super::stream::Stream;
use crate::paxos::SessionNumber;
use std::time::Instant;

/// A session that is being formed. Nothing is read from its connections but handshakes.
#[derive(Debug)]
pub(super) struct Forming {
    pub(super) number: SessionNumber,
    /// What the peer's disk is known by.
    pub(super) incarnation: u64,
    pub(super) deadline: Instant,
    /// By [`Channel::ALL`].
    streams: [Option<Stream>; 3],
    /// At the end that dials: those that are in their handshake.
    pub(super) dials: Vec<Dial>,
}

impl Forming {
    pub(super) fn new(number: SessionNumber, incarnation: u64, deadline: Instant) -> Forming {
        Forming { number, incarnation, deadline, streams: [None, None, None], dials: Vec::new() }
    }

    /// Whether a channel has no connection yet.
    pub(super) fn lacks(&self, channel: Channel) -> bool {
        self.streams[channel as usize].is_none()
    }

    /// An authenticated connection.
    pub(super) fn add(&mut self, channel: Channel, stream: Stream) {
        self.streams[channel as usize] = Some(stream);
    }

    /// All connections, once there are all.
    pub(super) fn take_complete(&mut self) -> Option<[Stream; 3]> {
        match std::mem::take(&mut self.streams) {
            [Some(heartbeat), Some(control), Some(payload)] => Some([heartbeat, control, payload]),
            incomplete => {
                self.streams = incomplete;
                None
            }
        }
    }

    pub(super) fn streams_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.streams.iter_mut().flatten().chain(self.dials.iter_mut().map(Dial::stream_mut))
    }
}
