//! S3: the segments of all replicas add up to the same at the same instance.

use super::e2;
use skink_engine::position::Instance;
use std::collections::BTreeMap;

/// What the segments add up to at an instance, and who was there first.
#[derive(Debug)]
struct Seen {
    digests: Vec<u64>,
    by: Vec<usize>,
}

/// All that was seen.
#[derive(Debug, Default)]
pub struct States {
    seen: BTreeMap<Instance, Seen>,
}

impl States {
    /// A replica is at an instance.
    pub fn check(&mut self, at: usize, instance: Instance, digests: Vec<u64>) -> Result<(), String> {
        let Some(seen) = self.seen.get_mut(&instance) else {
            self.seen.insert(instance, Seen { digests, by: vec![at] });
            return Ok(());
        };
        if seen.by.contains(&at) {
            return e2::check_again(at, instance, &seen.digests, &digests);
        }
        if seen.digests != digests {
            let Seen { digests: others, by } = seen;
            return Err(format!(
                "S3: at {instance}, the segments of {at} are {digests:x?}, those of {by:?} {others:x?}"
            ));
        }
        seen.by.push(at);
        Ok(())
    }
}
