//! Changes of membership: one replica more or one less, and what must hold before one is proposed (rule 15).
//!
//! One at a time and one replica at a time, so that any majority of the old members and any of the new ones have a
//! replica in common.

use super::configuration::{Configuration, MAX_ADDRESS_LEN, ReplicaId};
use super::frame::StopSign;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A change of the members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipChange {
    /// A replica comes in.
    Add {
        /// Its number.
        replica: ReplicaId,
        /// How the others reach it, as `HOST:PORT`.
        address: String,
    },
    /// A replica goes.
    Remove {
        /// Its number.
        replica: ReplicaId,
    },
}

/// Why a change is not proposed. The members stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// It is one.
    #[error("replica {0} is a member already")]
    AlreadyMember(ReplicaId),
    /// It is none.
    #[error("replica {0} is no member")]
    NotMember(ReplicaId),
    /// Fewer than two are no cluster.
    #[error("a cluster has at least two replicas: one alone can't go on from here")]
    TooFew,
    /// The address can't be one.
    #[error("the address of replica {0} is empty or too long: write HOST:PORT")]
    Address(ReplicaId),
    /// Another change was proposed and is not in force.
    #[error("another change of the members is under way: try again when it is done")]
    UnderWay,
    /// The new members would have no majority that can be reached.
    #[error(
        "{reached} of the replicas that would be left to agree can be reached, and {needed} are needed: start the \
         others first, or remove one that is gone for good"
    )]
    NoMajority {
        /// How many can be reached.
        reached: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Only the leader proposes it.
    #[error("this replica does not lead: try again")]
    NotLeader,
}

impl MembershipChange {
    /// Whose membership changes.
    pub fn replica(&self) -> ReplicaId {
        match self {
            MembershipChange::Add { replica, .. } | MembershipChange::Remove { replica } => *replica,
        }
    }

    /// Whether these are the members that it is to bring about.
    pub fn is_in_force(&self, configuration: &Configuration) -> bool {
        let is_member = configuration.has_member(self.replica());
        is_member == matches!(self, MembershipChange::Add { .. })
    }

    /// The end of this configuration that the change is.
    ///
    /// # Errors
    /// It can't follow this configuration.
    pub fn stop_sign(&self, configuration: &Configuration) -> Result<StopSign, ChangeError> {
        let replica = self.replica();
        let mut members = configuration.members().to_vec();
        let mut addresses = configuration.addresses().to_vec();
        addresses.retain(|(of, _)| *of != replica);
        match self {
            MembershipChange::Add { .. } if configuration.has_member(replica) => {
                return Err(ChangeError::AlreadyMember(replica));
            }
            MembershipChange::Add { address, .. } if address.is_empty() || address.len() > MAX_ADDRESS_LEN => {
                return Err(ChangeError::Address(replica));
            }
            MembershipChange::Add { address, .. } => {
                members.push(replica);
                addresses.push((replica, address.clone()));
            }
            MembershipChange::Remove { .. } if !configuration.has_member(replica) => {
                return Err(ChangeError::NotMember(replica));
            }
            MembershipChange::Remove { .. } if members.len() <= 2 => return Err(ChangeError::TooFew),
            MembershipChange::Remove { .. } => members.retain(|member| *member != replica),
        }
        members.sort_unstable();
        addresses.sort_unstable();
        Ok(StopSign { configuration: configuration.id() + 1, members, addresses })
    }

    /// Whether the new members can go on with those of the old ones that are reached: one that comes in has first to
    /// get its vote.
    ///
    /// # Errors
    /// They can't.
    pub fn check_reach(&self, next: &StopSign, is_reached: impl Fn(ReplicaId) -> bool) -> Result<(), ChangeError> {
        let old = next.members.iter().filter(|member| **member != self.replica());
        let (reached, needed) = (old.filter(|member| is_reached(**member)).count(), next.members.len() / 2 + 1);
        if reached >= needed { Ok(()) } else { Err(ChangeError::NoMajority { reached, needed }) }
    }
}

#[cfg(test)]
mod tests {
    use super::{ChangeError, MembershipChange};
    use crate::paxos::{Configuration, ReplicaId};
    use skink_engine::position::Instance;

    fn replica(number: u8) -> ReplicaId {
        ReplicaId::new(number).unwrap()
    }

    fn configuration(members: &[u8]) -> Configuration {
        let members = members.iter().map(|member| replica(*member)).collect();
        Configuration::new(4, members, Instance::ZERO).unwrap()
    }

    fn add(number: u8) -> MembershipChange {
        MembershipChange::Add { replica: replica(number), address: "b:1".into() }
    }

    fn remove(number: u8) -> MembershipChange {
        MembershipChange::Remove { replica: replica(number) }
    }

    #[test]
    fn one_more_and_one_less() {
        let three = configuration(&[1, 2, 3]);
        let next = add(4).stop_sign(&three).unwrap();
        assert_eq!((next.configuration, next.members.len(), next.addresses.len()), (5, 4, 1));
        let four = Configuration::after(&next, Instance::new(9).unwrap()).unwrap();
        assert!(add(4).is_in_force(&four) && !add(4).is_in_force(&three));
        assert!(remove(4).is_in_force(&three) && !remove(4).is_in_force(&four));
        assert_eq!(four.address(replica(4)), Some("b:1"));
        let next = remove(4).stop_sign(&four).unwrap();
        assert_eq!((next.configuration, next.members.len(), next.addresses.len()), (6, 3, 0));
    }

    #[test]
    fn what_can_not_follow_is_refused() {
        let two = configuration(&[1, 2]);
        assert_eq!(add(2).stop_sign(&two), Err(ChangeError::AlreadyMember(replica(2))));
        assert_eq!(remove(3).stop_sign(&two), Err(ChangeError::NotMember(replica(3))));
        assert_eq!(remove(2).stop_sign(&two), Err(ChangeError::TooFew));
        let long = MembershipChange::Add { replica: replica(3), address: "x".repeat(1000) };
        assert_eq!(long.stop_sign(&two), Err(ChangeError::Address(replica(3))));
    }

    #[test]
    fn nobody_is_left_without_a_majority() {
        let three = configuration(&[1, 2, 3]);
        let reach = |change: &MembershipChange, reached: &[u8]| {
            let next = change.stop_sign(&three).unwrap();
            change.check_reach(&next, |member| reached.contains(&member.get()))
        };
        assert_eq!(reach(&add(4), &[1, 2, 3]), Ok(()));
        assert_eq!(reach(&add(4), &[1, 2, 4]), Err(ChangeError::NoMajority { reached: 2, needed: 3 }));
        assert_eq!(reach(&remove(3), &[1, 2]), Ok(()));
        assert_eq!(reach(&remove(2), &[1, 2]), Err(ChangeError::NoMajority { reached: 1, needed: 2 }));
    }
}
