//! Members as the thread of a replica sees them: whom to talk to, what to tell others, whom to ask who they are.
//!
//! ```text
//! the node goes over -> new members are talked to at once, those who went for a moment longer: they must hear of it
//! nobody leads       -> others are asked which members there are; a replica without a vote goes over by that alone
//! ```

use super::cluster::Runner;
use super::{Job, Replica};
use crate::formation::{Announcement, Label};
use crate::node::ChangeReply;
use crate::paxos::{Configuration, MembershipChange, ReplicaId};
use skink_engine::error::Fault;
use skink_engine::label;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long those who are no members any more are talked to.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often others are asked which members there are, where nobody leads.
const ASK_STEP: Duration = Duration::from_secs(1);

/// What is known of the members.
pub(super) struct Roster {
    announcement: Announcement,
    label: Label,
    /// Until when those who went are talked to.
    farewell: Option<Instant>,
    asked: Instant,
}

impl Roster {
    pub(super) fn new(announcement: Announcement, label: Label) -> Roster {
        Roster { announcement, label, farewell: None, asked: Instant::now() }
    }
}

impl Replica {
    /// Changes the members; `reply` is called when that is in force here, or with why it is not.
    pub fn change_members(&self, change: MembershipChange, reply: ChangeReply) {
        if !self.is_among_others() {
            return reply(Err("a single replica has no members: a cluster begins with --replica and --cluster".into()));
        }
        if let Err(Job::ChangeMembers(_, reply)) = self.shared.push(Job::ChangeMembers(change, reply)) {
            reply(Err("the server is shutting down".into()));
        }
    }
}

impl Runner {
    /// How this replica reaches the members: where it was told, and by the hint of whoever added them elsewhere.
    fn addresses(&self) -> BTreeMap<ReplicaId, String> {
        let configuration = self.node.configuration();
        let told = self.shared.options.cluster.as_ref().map(|cluster| &cluster.peers);
        let address = |member: ReplicaId| {
            let told = told.and_then(|told| told.get(&member)).map(String::as_str);
            told.or_else(|| configuration.address(member)).unwrap_or_default().to_owned()
        };
        configuration.members().iter().map(|member| (*member, address(*member))).collect()
    }

    /// The members have changed, or this replica has just started.
    pub(super) fn members_changed(&mut self, configuration: &Configuration) {
        self.roster.announcement.configuration = Some(configuration.clone());
        self.transport.set_discovery(self.roster.announcement.encode());
        // What was said to those who went is still on its way.
        let is_removed = self.node.is_removed();
        let mut addresses = self.transport.peers();
        addresses.retain(|peer, _| is_removed || !configuration.has_member(*peer));
        if !is_removed {
            addresses.extend(self.addresses());
        }
        self.transport.set_peers(addresses);
        self.roster.farewell = Some(Instant::now() + FAREWELL);
    }

    /// Looks at the time.
    pub(super) fn tick_roster(&mut self) {
        let now = Instant::now();
        if self.roster.farewell.take_if(|until| now >= *until).is_some() {
            let addresses = if self.node.is_removed() { BTreeMap::new() } else { self.addresses() };
            self.transport.set_peers(addresses);
        }
        if self.node.is_looking() && now.saturating_duration_since(self.roster.asked) >= ASK_STEP {
            self.roster.asked = now;
            for peer in self.addresses().into_keys() {
                self.transport.discover(peer);
            }
        }
    }

    /// Another replica told about itself.
    pub(super) fn discovered(&mut self, peer: ReplicaId, blob: &[u8]) -> Result<(), Fault> {
        let Ok(announcement) = Announcement::decode(blob) else { return Ok(()) };
        let is_same = announcement.founding.is_some() && announcement.founding == self.roster.announcement.founding;
        let Some(configuration) = announcement.configuration.filter(|_| is_same) else { return Ok(()) };
        if self.node.discovered(peer, &configuration) {
            // The next start must not go back to what is over: it would find frames of members that it doesn't know.
            self.roster.label.joined = Some(configuration.clone());
            let engine = &self.shared.engine;
            label::write(engine.environment(), engine.directory().root(), &self.roster.label.encode())?;
            self.node.join(configuration);
        }
        Ok(())
    }
}
