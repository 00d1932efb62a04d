//! The jump: a replica that comes back leaves out the headers of what it missed, as what they are for is handed over.
//!
//! ```text
//! session opens, not shown to the order yet: asks --> donor pins a cut at F, says what the order and execution were there
//!   that is made durable, the order goes on behind F as if a checkpoint at F was installed (rule 3)
//!   the sessions that were held back are shown to the order: it gets what is behind F, and nothing before
//! ```
//!
//! So the first answer takes as long after a second of absence as after a day, and the others' logs need not reach back.
//! The replica's own log no longer counts up to F, though its state isn't there yet: until it is, a start goes on with a
//! hand-off, from whoever can give. So that what was decided is still whole somewhere if the donor is lost for good, there
//! is a jump only where a majority of the members has all of it without this replica.

use super::super::Node;
use super::super::start::OrderingFacts;
use super::message::Handoff;
use super::{Channel, Open, Receiving};
use crate::identity::IdWindow;
use crate::paxos::{Envelope, Event, ReplicaId, SessionNumber};
use crate::replay::Progress;
use serde::{Deserialize, Serialize};
use skink_engine::catalog::Catalog;
use skink_engine::error::Fault;
use skink_engine::manifest::ProxyPosition;
use skink_engine::position::Instance;
use std::collections::BTreeMap;

/// Its name in the catalog.
const FACT: &str = "jump";
const VERSION: u8 = 1;

/// Where the order and execution were at a cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jump {
    /// The last instance that is in the cut.
    pub instance: Instance,
    /// Its time, in milliseconds since 1970.
    pub time_ms: u64,
    /// The window of ids.
    pub proxies: Vec<ProxyPosition>,
    /// What the order keeps with checkpoints ([`OrderingFacts`]).
    pub ordering: Vec<u8>,
}

impl Jump {
    /// The one that was made last in a data directory, if its state is not in the checkpoint that is there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load(catalog: &Catalog, checkpoint: Instance) -> Result<Option<Jump>, String> {
        let Some(bytes) = catalog.get(FACT) else { return Ok(None) };
        let jump = match bytes.split_first() {
            Some((&VERSION, body)) => postcard::from_bytes(body).map_err(|error| error.to_string()),
            Some((version, _)) => Err(format!("its version is {version}")),
            None => Err("it is empty".into()),
        };
        let jump: Jump = jump.map_err(|what| format!("where the log goes on can't be decoded: {what}"))?;
        Ok(Some(jump).filter(|jump| jump.instance > checkpoint))
    }

    /// Says durably that this jump is made.
    pub(in crate::node) fn store(&self, catalog: &Catalog) -> Result<(), Fault> {
        match postcard::to_extend(self, vec![VERSION]) {
            Ok(bytes) => catalog.put(FACT, &bytes),
            Err(error) => unreachable!("plain data can be encoded: {error}"),
        }
    }

    pub(in crate::node) fn progress(&self) -> Progress {
        Progress { instance: self.instance, time_ms: self.time_ms, ids: IdWindow::from_manifest(&self.proxies) }
    }

    /// What the order keeps with it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn facts(&self) -> Result<OrderingFacts, String> {
        OrderingFacts::decode(&self.ordering)?.ok_or_else(|| "it has nothing of the order".into())
    }
}

/// A session that the order has not been shown yet, and what came in it.
struct Held {
    session: SessionNumber,
    incarnation: u64,
    envelopes: Vec<Envelope>,
}

/// Sessions that are held back while a donor is asked for.
#[derive(Default)]
pub(super) struct HeldSessions(BTreeMap<ReplicaId, Held>);

impl HeldSessions {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Node {
    /// A session is open: the order is shown it, at once or when a donor has answered.
    pub(in crate::node) fn meet(&mut self, peer: ReplicaId, session: SessionNumber, incarnation: u64) {
        self.look_for_donor_at(peer);
        if self.handoffs.is_asking_first() {
            self.handoffs.held.0.insert(peer, Held { session, incarnation, envelopes: Vec::new() });
        } else {
            self.protocol.handle(Event::Connected { peer, session, incarnation });
        }
    }

    /// A message of the order came.
    pub(in crate::node) fn order_received(&mut self, peer: ReplicaId, envelope: Envelope) {
        match self.handoffs.held.0.get_mut(&peer) {
            Some(held) => held.envelopes.push(envelope),
            None => self.protocol.handle(Event::Received { peer, envelope }),
        }
    }

    /// A session is over.
    pub(in crate::node) fn part(&mut self, peer: ReplicaId, session: SessionNumber) {
        if self.handoffs.held.0.get(&peer).is_some_and(|held| held.session == session) {
            self.handoffs.held.0.remove(&peer);
        }
        self.protocol.handle(Event::Disconnected { peer, session });
    }

    /// The order is shown what was held back.
    pub(super) fn meet_held(&mut self) {
        for (peer, held) in std::mem::take(&mut self.handoffs.held.0) {
            let Held { session, incarnation, envelopes } = held;
            self.protocol.handle(Event::Connected { peer, session, incarnation });
            for envelope in envelopes {
                self.protocol.handle(Event::Received { peer, envelope });
            }
        }
    }

    /// Where the order and execution are here, for a replica that jumps there; `None` where that one had better keep its log:
    /// what it has up to `log_end` must be whole at a majority without it. What is behind that was decided without it.
    pub(in crate::node) fn jump_for(&self, peer: ReplicaId, log_end: Instance) -> Option<Jump> {
        let configuration = self.configuration();
        let others = configuration.members().iter().filter(|member| **member != peer && **member != self.own);
        let whole = 1 + others.filter(|member| self.statuses.has_all(**member, log_end)).count();
        (whole >= configuration.majority()).then(|| Jump {
            instance: self.execution.progress.instance,
            time_ms: self.execution.progress.time_ms,
            proxies: self.execution.progress.ids.to_manifest(),
            ordering: self.ordering_facts().encode(),
        })
    }

    /// Jumps to the cut that a donor holds, as soon as nothing is in the way.
    pub(in crate::node) fn jump(&mut self) -> Result<(), Fault> {
        let is_in_the_way =
            self.log.has_work() || self.execution.is_within_a_batch() || self.checkpoints.is_under_way();
        if is_in_the_way || self.handoffs.jump.is_none() {
            return Ok(());
        }
        let Some((donor, jump)) = self.handoffs.jump.take() else { return Ok(()) };
        let (base, instance) = (self.executed(), jump.instance);
        let facts = match jump.facts() {
            Ok(facts) if facts.configuration.id() == self.configuration().id() && instance > base => facts,
            Ok(_) => return self.decline(donor, instance, "it is of other members, or old"),
            Err(what) => return self.decline(donor, instance, &what),
        };
        // First that, then the log's frame that says the same: a start that finds the first alone takes it as said.
        let catalog = Catalog::open(self.engine.environment(), &self.engine.directory().catalog())?;
        match jump.store(&catalog) {
            Err(fault) if fault.is_transient() => return self.decline(donor, instance, &fault.to_string()),
            result => result?,
        }
        tracing::info!(%donor, %instance, %base, "what was missed is left out: another replica hands over its state");
        self.protocol.handle(Event::CheckpointInstalled { checkpoint: facts.at(instance) });
        self.protocol.learn_incarnations(&facts.incarnations);
        self.execution.install(jump.progress());
        self.handoffs.jumped = instance;
        self.handoffs.gaps = 0;
        self.state_came(&facts)?;
        self.open_handoff(Open::new(Some(donor), base, instance, self.engine.segment_count(), self.now));
        self.meet_held();
        self.propose_all();
        Ok(())
    }

    fn decline(&mut self, donor: ReplicaId, instance: Instance, what: &str) -> Result<(), Fault> {
        tracing::warn!(%donor, %instance, what, "a cut of another replica is of no use");
        self.hand(donor, Channel::Control, Handoff::Done { instance });
        self.go_on_without_donor();
        Ok(())
    }

    /// A start found a jump whose state is not here yet.
    pub(in crate::node) fn resume_handoff(&mut self, base: Instance, floor: Instance) {
        tracing::info!(%base, %floor, "the state is not all here: it goes on being handed over when another replica is there");
        self.handoffs.jumped = floor;
        let open = Open::new(None, base, floor, self.engine.segment_count(), 0);
        self.handoffs.receiving = Receiving::Open(Box::new(open));
        self.engine.keep_tombstones(true);
        self.execution.set_floor(Some(floor));
    }
}

#[cfg(test)]
mod tests {
    use super::{Catalog, FACT, Instance, Jump};
    use skink_engine::env::sim::environment;
    use skink_engine::manifest::ProxyPosition;
    use std::path::Path;

    #[test]
    fn a_jump_counts_until_a_checkpoint_has_it() {
        let (environment, ..) = environment(1, 1 << 20);
        let catalog = Catalog::open(&environment, Path::new("/catalog")).unwrap();
        let at = |instance| Instance::new(instance).unwrap();
        let load = |checkpoint| Jump::load(&catalog, at(checkpoint));
        assert_eq!(load(0), Ok(None));
        let proxies = vec![ProxyPosition { proxy: 1, incarnation: 2, sequence: 3 }];
        let jump = Jump { instance: at(9), time_ms: 7, proxies, ordering: vec![1, 2] };
        jump.store(&catalog).unwrap();
        assert_eq!(load(8), Ok(Some(jump.clone())));
        assert_eq!(load(9), Ok(None));
        let progress = jump.progress();
        assert_eq!((progress.instance, progress.time_ms), (at(9), 7));
        for bytes in [&[][..], &[2], &[1, 0]] {
            catalog.put(FACT, bytes).unwrap();
            assert!(load(0).is_err(), "{bytes:?}");
        }
    }
}
