//! Replay: executing again what the log has beyond the checkpoint.

mod ahead;

use crate::batch::{self, LocalCommand};
use crate::executor::{Executor, Work, execute_in_order};
use crate::header::{Content, Header};
use crate::identity::{IdWindow, Verdict};
use crate::order::Cycle;
use skink_engine::error::Fault;
use skink_engine::log::{self, Frame, FrameKind, LogFiles};
use skink_engine::manifest::Manifest;
use skink_engine::position::{Instance, LogPosition};

/// Where execution stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The last delivered instance.
    pub(crate) instance: Instance,
    /// Its time, monotonic.
    pub(crate) time_ms: u64,
    /// The ids that were delivered.
    pub(crate) ids: IdWindow,
}

impl Progress {
    pub(crate) fn at(manifest: &Manifest) -> Progress {
        Progress {
            instance: manifest.instance,
            time_ms: manifest.time_ms,
            ids: IdWindow::from_manifest(&manifest.proxies),
        }
    }

    /// Takes note of the next delivered header: its monotonic time, and whether to execute it.
    pub(crate) fn deliver(&mut self, instance: Instance, header: &Header) -> (u64, Verdict) {
        assert_eq!(instance, self.instance.next(), "instances have no gaps");
        self.instance = instance;
        self.time_ms = self.time_ms.max(header.time_ms);
        (self.time_ms, self.ids.deliver(&header.id))
    }

    /// Takes note of a delivered instance that is no batch's.
    pub(crate) fn pass(&mut self, instance: Instance) {
        assert_eq!(instance, self.instance.next(), "instances have no gaps");
        self.instance = instance;
    }
}

/// The headers that the log has beyond a checkpoint.
pub(crate) struct OldLog {
    entries: Vec<(Instance, Header, LogPosition)>,
}

impl OldLog {
    /// Collects the headers of a scan.
    ///
    /// # Errors
    /// A frame that can't be decoded, or a gap: R2, nothing may be answered then.
    pub(crate) fn collect(files: &LogFiles, frames: &[Frame], from: Instance) -> Result<OldLog, Fault> {
        let mut entries = Vec::new();
        let mut next = from.next();
        for frame in frames.iter().filter(|frame| frame.kind == FrameKind::Ordering) {
            let damaged = |what: String| log::damaged(files, frame.position, what);
            let cycle: Cycle = postcard::from_bytes(&frame.body)
                .map_err(|error| damaged(format!("an ordering frame can't be decoded: {error}")))?;
            let mut instance = cycle.first;
            for (header, payload) in cycle.entries {
                if instance == next {
                    entries.push((instance, header, payload));
                    next = next.next();
                } else if instance > next {
                    return Err(damaged(format!("instance {instance} follows where {next} is expected")));
                }
                instance = instance.next();
            }
        }
        Ok(OldLog { entries })
    }

    /// The last instance, if there is any.
    pub(crate) fn last(&self) -> Option<Instance> {
        self.entries.last().map(|(instance, _, _)| *instance)
    }

    /// Number of headers.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Executes them in order; answers with the number of commands.
    pub(crate) fn replay(
        self,
        files: &LogFiles,
        progress: &mut Progress,
        executor: &dyn Executor,
        mut step: impl FnMut(u64),
    ) -> Result<u64, Fault> {
        // What is delivered follows from headers alone.
        let delivered = self.entries.into_iter().filter_map(|(instance, header, position)| {
            let (time_ms, verdict) = progress.deliver(instance, &header);
            let is_executed = verdict != Verdict::Skip && matches!(header.content, Content::Commands { .. });
            is_executed.then_some((instance, time_ms, position))
        });
        let mut reader = log::BodyReader::new(files);
        let decode = |(instance, time_ms, position)| {
            let payload = reader.read(position)?;
            let commands = batch::decode(&payload).map_err(|error| log::damaged(files, position, error.to_string()))?;
            let commands: Vec<LocalCommand> =
                commands.into_iter().map(|command| LocalCommand { command, is_ordered: true }).collect();
            Ok(((instance, time_ms, commands), payload.len()))
        };
        let mut executed = 0;
        let mut replies = Vec::new();
        ahead::run(delivered, decode, |(instance, time_ms, commands): (Instance, u64, Vec<LocalCommand>)| {
            replies.clear();
            execute_in_order(&Work { instance, time_ms, commands: &commands }, executor, &mut replies)?;
            executed += commands.len() as u64;
            step(commands.len() as u64);
            Ok(())
        })?;
        Ok(executed)
    }
}
