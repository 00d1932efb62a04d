//! Who takes part: replicas, ballots, and the configuration that numbers its log from zero.

use super::frame::StopSign;
use omnipaxos::ballot_leader_election::Ballot as ObjectBallot;
use serde::{Deserialize, Serialize};
use skink_engine::position::Instance;
use std::fmt;

/// Longest address of a replica, in bytes: a host's name, and a port.
pub const MAX_ADDRESS_LEN: usize = 260;

/// A replica's number. They are small and dense, as tables are indexed by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct ReplicaId(u8);

impl ReplicaId {
    /// The smallest one.
    pub const FIRST: ReplicaId = ReplicaId(1);
    /// The largest number.
    pub const MAX: u8 = 15;

    /// The replica with this number, from 1 to [`ReplicaId::MAX`].
    pub fn new(number: u8) -> Option<ReplicaId> {
        (1..=ReplicaId::MAX).contains(&number).then_some(ReplicaId(number))
    }

    /// Its number.
    pub fn get(self) -> u8 {
        self.0
    }

    pub(super) fn pid(self) -> u64 {
        u64::from(self.0)
    }

    pub(super) fn from_pid(pid: u64) -> Option<ReplicaId> {
        u8::try_from(pid).ok().and_then(ReplicaId::new)
    }
}

impl TryFrom<u8> for ReplicaId {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<ReplicaId, &'static str> {
        ReplicaId::new(number).ok_or("no replica has this number")
    }
}

impl From<ReplicaId> for u8 {
    fn from(replica: ReplicaId) -> u8 {
        replica.0
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A ballot: a try to lead, and whose it is. [`Ballot::NONE`] is before all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Ballot {
    number: u32,
    replica: u8,
}

impl Ballot {
    /// Before all ballots.
    pub const NONE: Ballot = Ballot { number: 0, replica: 0 };
    /// Ballots count up one by one. A number beyond this, which would let the count overflow, is no ballot of ours.
    const MAX_NUMBER: u32 = u32::MAX / 2;

    /// A replica's ballot of this number.
    #[cfg(any(test, feature = "testing"))]
    pub fn new(number: u32, replica: ReplicaId) -> Ballot {
        Ballot { number, replica: replica.0 }
    }

    /// Whose it is.
    pub fn replica(self) -> Option<ReplicaId> {
        ReplicaId::new(self.replica)
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.number
    }

    pub(super) fn from_object(ballot: ObjectBallot) -> Ballot {
        let Ok(replica) = u8::try_from(ballot.pid) else { unreachable!("ballots are those of replicas") };
        Ballot { number: ballot.n, replica }
    }

    /// The object compares configurations, too, where it asks for equality.
    pub(super) fn to_object(self, configuration: &Configuration) -> ObjectBallot {
        match self {
            Ballot::NONE => ObjectBallot::default(),
            Ballot { number, replica } => ObjectBallot::with(configuration.id, number, 0, u64::from(replica)),
        }
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.number, self.replica)
    }
}

/// The members of a cluster between two changes of membership (rule 15).
///
/// Each has a log of its own, numbered from zero. Instances go on through `start`, which is part of checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    id: u32,
    members: Vec<ReplicaId>,
    start: Instance,
    /// How to reach members that were added.
    addresses: Vec<(ReplicaId, String)>,
}

impl Configuration {
    /// A configuration, `None` if its id is 0, or members are fewer than two, or named twice.
    pub fn new(id: u32, mut members: Vec<ReplicaId>, start: Instance) -> Option<Configuration> {
        members.sort_unstable();
        let is_right = id != 0 && members.len() >= 2 && members.windows(2).all(|pair| pair[0] != pair[1]);
        is_right.then_some(Configuration { id, members, start, addresses: Vec::new() })
    }

    /// The one that a stop sign at this instance begins, `None` if there is no such one.
    pub fn after(stop_sign: &StopSign, at: Instance) -> Option<Configuration> {
        let StopSign { configuration, members, addresses } = stop_sign;
        Configuration::new(*configuration, members.clone(), at)?.with_addresses(addresses.clone())
    }

    /// The same with hints how to reach members, `None` if they are none of such.
    pub fn with_addresses(self, addresses: Vec<(ReplicaId, String)>) -> Option<Configuration> {
        let is_right = |(replica, address): &(ReplicaId, String)| {
            self.has_member(*replica) && (1..=MAX_ADDRESS_LEN).contains(&address.len())
        };
        let is_right = addresses.len() <= self.members.len() && addresses.iter().all(is_right);
        is_right.then_some(Configuration { addresses, ..self })
    }

    /// Its number, from 1.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its members, ascending.
    pub fn members(&self) -> &[ReplicaId] {
        &self.members
    }

    /// Whether this replica is one.
    pub fn has_member(&self, replica: ReplicaId) -> bool {
        self.members.contains(&replica)
    }

    /// How to reach members that were added.
    pub fn addresses(&self) -> &[(ReplicaId, String)] {
        &self.addresses
    }

    /// How to reach a member, if it was added.
    pub fn address(&self, replica: ReplicaId) -> Option<&str> {
        self.addresses.iter().find(|(of, _)| *of == replica).map(|(_, address)| address.as_str())
    }

    /// Whether it can be the last entry of this configuration.
    pub(super) fn can_end_with(&self, stop_sign: &StopSign) -> bool {
        let follows = stop_sign.configuration.checked_sub(1) == Some(self.id);
        follows && Configuration::after(stop_sign, self.start).is_some()
    }

    /// The last instance before its first.
    pub fn start(&self) -> Instance {
        self.start
    }

    /// How many members are a majority.
    pub fn majority(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// The last instance of a log of this length.
    pub(super) fn instance(&self, len: usize) -> Instance {
        match self.start.get().checked_add(len as u64).and_then(Instance::new) {
            Some(instance) => instance,
            None => panic!("instances are exhausted"),
        }
    }

    /// The length of a log that ends with this instance; `None` if it is before the configuration, or impossible.
    pub(super) fn len_at(&self, instance: Instance) -> Option<usize> {
        let len = instance.get().checked_sub(self.start.get())?;
        (instance <= Instance::MAX).then_some(usize::try_from(len).ok()?)
    }

    /// Whether a ballot can have been taken here.
    pub(super) fn has_ballot(&self, ballot: Ballot) -> bool {
        let is_members = ballot.replica().is_some_and(|replica| self.members.contains(&replica));
        ballot == Ballot::NONE || is_members && ballot.number <= Ballot::MAX_NUMBER
    }
}

#[cfg(test)]
mod tests {
    use super::{Ballot, Configuration, ReplicaId};
    use skink_engine::position::Instance;

    fn replica(number: u8) -> ReplicaId {
        ReplicaId::new(number).unwrap()
    }

    #[test]
    fn wrong_configurations_are_refused() {
        let new = |id, members: &[u8]| {
            Configuration::new(id, members.iter().map(|member| replica(*member)).collect(), Instance::ZERO)
        };
        assert!(new(0, &[1, 2, 3]).is_none(), "id 0 is the object's word for none");
        assert!(new(1, &[1]).is_none());
        assert!(new(1, &[1, 2, 1]).is_none());
        assert_eq!(new(1, &[3, 1, 2]).unwrap().members(), [replica(1), replica(2), replica(3)]);
        assert_eq!(new(1, &[1, 2, 3]).unwrap().majority(), 2);
        assert_eq!(new(1, &[1, 2, 3, 4]).unwrap().majority(), 3);
    }

    #[test]
    fn instances_go_on_from_the_start() {
        let start = Instance::new(10).unwrap();
        let configuration = Configuration::new(2, vec![replica(1), replica(2)], start).unwrap();
        assert_eq!(configuration.instance(3), Instance::new(13).unwrap());
        assert_eq!(configuration.len_at(Instance::new(13).unwrap()), Some(3));
        assert_eq!(configuration.len_at(Instance::new(9).unwrap()), None);
    }

    #[test]
    fn ballots_of_strangers_are_none_of_ours() {
        let configuration = Configuration::new(1, vec![replica(1), replica(2)], Instance::ZERO).unwrap();
        assert!(configuration.has_ballot(Ballot::NONE));
        assert!(configuration.has_ballot(Ballot::new(7, replica(2))));
        assert!(!configuration.has_ballot(Ballot::new(7, replica(3))));
        assert!(!configuration.has_ballot(Ballot::new(u32::MAX, replica(2))), "its successor would overflow");
        let ballot = Ballot::new(7, replica(2));
        assert_eq!(Ballot::from_object(ballot.to_object(&configuration)), ballot);
        assert!(Ballot::new(1, replica(2)) < Ballot::new(2, replica(1)));
    }
}
