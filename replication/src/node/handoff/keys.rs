//! Keys that somebody here waits for while the state is handed over: they come ahead of their segments.
//!
//! ```text
//! a read arrives ---- its keys are asked for --.          .--> answered when both are here
//!                '--- its index is asked for ---'---------'
//! a write arrives --- what it needs is asked for, and its place in the order; what it only writes over is not needed
//! ```

use super::Node;
use crate::batch::LocalCommand;
use crate::node::Touches;
use crate::node::part::touches_of;
use skink_engine::key::KeyHash;
use skink_engine::position::Instance;

impl Node {
    /// Whether a key is here as of the cut that is handed over, or newer; if not, it is asked for.
    pub(in crate::node) fn is_handed_over(&mut self, hash: KeyHash) -> bool {
        let Some(open) = self.handoffs.open() else { return true };
        let is_here = open.has(hash);
        if !is_here && !open.asked.contains_key(&hash) {
            open.asked.insert(hash, self.now);
            open.wanted.push(hash);
        }
        is_here
    }

    /// Asks for the keys of a read that has just arrived.
    pub(in crate::node) fn foresee_read(&mut self, touches: &[Touches]) {
        if !self.handoffs.is_open() {
            return;
        }
        for touches in touches {
            if let Touches::Keys(keys) = touches {
                self.foresee(keys);
            }
        }
    }

    /// Asks for what the commands of a batch need that was just made here.
    pub(in crate::node) fn foresee_batch(&mut self, commands: &[LocalCommand]) {
        if !self.handoffs.is_open() {
            return;
        }
        for local in commands.iter().filter(|local| !local.command.is_blind()) {
            if let Some(keys) = touches_of(&local.command, &|key| self.engine.hash(key)) {
                self.foresee(&keys);
            }
        }
    }

    fn foresee(&mut self, keys: &[KeyHash]) {
        for key in keys {
            let _ = self.is_handed_over(*key);
        }
    }

    /// Keys are about to be written over by these instances, whether they are here or not.
    pub(in crate::node) fn overwrites(&mut self, keys: Vec<(KeyHash, Instance)>) {
        if let Some(open) = self.handoffs.open() {
            open.overwritten.extend(keys);
        }
    }
}
