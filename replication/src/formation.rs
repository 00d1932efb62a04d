//! Formation: how replicas with empty directories become a cluster, once, and how one with an empty directory finds
//! out whether it is one of the founders or has lost its disk (O4).
//!
//! ```text
//! empty directory: label with a random number for the disk
//!    |-- all others are empty, too, and this is the member with the lowest number --> founds: cluster, seed, all disks
//!    |-- somebody is formed, and its founding names this disk ----------------------> founder
//!    |-- somebody is formed, and this replica is a member, with no or another disk -> comes in without a vote
//!    '-- somebody is formed, and this replica is no member -------------------------> waits until it is added
//! ```
//!
//! So all members must be there once. The number of the disk is durable before anybody hears of it, and the founding
//! before anybody relies on it: a disk that the founding names has never voted before, and one that it doesn't name
//! has no vote before a barrier (rule 14).

use crate::paxos::{Configuration, ReplicaId};
use serde::{Deserialize, Serialize};
use skink_engine::position::Instance;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What a founder's disk is known by in the order.
pub const FOUNDERS_INCARNATION: u64 = 1;

/// What was added since version 1 stands at the end, so that a zero behind the bytes of version 1 says that it is not there.
const VERSION: u8 = 2;

/// What a cluster was founded as. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    /// The cluster's number.
    pub cluster: u64,
    /// Seed of the key hash.
    pub seed: u64,
    /// Number of segments.
    pub segments: u16,
    /// Longest value, in bytes.
    pub max_value_len: u32,
    /// The founders, ascending, and the numbers of their disks.
    pub disks: Vec<(ReplicaId, u64)>,
}

impl Founding {
    /// The first configuration.
    pub fn configuration(&self) -> Option<Configuration> {
        Configuration::new(1, self.disks.iter().map(|(member, _)| *member).collect(), Instance::ZERO)
    }
}

/// What a data directory is to its cluster: its label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The replica that it belongs to.
    pub own: ReplicaId,
    /// A random number for this disk.
    pub disk: u64,
    /// What the disk is known by in the order.
    pub incarnation: u64,
    /// The cluster, once it is known.
    pub founding: Option<Founding>,
    /// Whether the directory was made. Without it, it is only a part of one then.
    pub is_made: bool,
    /// The members that the disk came in with, where it is no founder's.
    pub joined: Option<Configuration>,
}

impl Label {
    /// Whether the disk was there when the cluster was founded.
    pub fn is_founder(&self) -> bool {
        self.founding.as_ref().is_some_and(|founding| founding.disks.contains(&(self.own, self.disk)))
    }

    /// The members that the disk began with.
    pub fn first_configuration(&self) -> Option<Configuration> {
        self.joined.clone().or_else(|| self.founding.as_ref().and_then(Founding::configuration))
    }
}

/// What a replica tells others about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The members that it was started with, ascending.
    pub members: Vec<ReplicaId>,
    /// The number of its disk.
    pub disk: u64,
    /// Its cluster, if it is part of one.
    pub founding: Option<Founding>,
    /// The members in force at it, if it is part of a cluster.
    pub configuration: Option<Configuration>,
}

impl Announcement {
    /// The members in force at the one who announces.
    pub fn members_in_force(&self) -> Option<Configuration> {
        self.configuration.clone().or_else(|| self.founding.as_ref().and_then(Founding::configuration))
    }
}

/// The cluster that a replica turned out to be part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it was founded as.
    pub founding: Founding,
    /// The members in force.
    pub configuration: Configuration,
}

macro_rules! coded {
    ($($name:ident: $what:literal),*) => {
        $(impl $name {
            /// Its bytes: a version, 2, then postcard.
            pub fn encode(&self) -> Vec<u8> {
                match postcard::to_extend(self, vec![VERSION]) {
                    Ok(bytes) => bytes,
                    Err(error) => unreachable!("it can be encoded: {error}"),
                }
            }

            /// Reads one.
            ///
            /// # Errors
            /// What is wrong with it.
            pub fn decode(bytes: &[u8]) -> Result<$name, String> {
                let body = match bytes.split_first() {
                    Some((&VERSION, body)) => Cow::Borrowed(body),
                    Some((1, body)) => Cow::Owned([body, &[0]].concat()),
                    Some((version, _)) => {
                        return Err(format!("{} has version {version}, this program reads 1 and 2", $what));
                    }
                    None => return Err(format!("{} is empty", $what)),
                };
                match postcard::take_from_bytes(&body) {
                    Ok((value, [])) => Ok(value),
                    Ok((_, rest)) => Err(format!("{} bytes follow {}", rest.len(), $what)),
                    Err(error) => Err(format!("{} can't be decoded: {error}", $what)),
                }
            }
        })*
    };
}

coded!(Label: "a label", Announcement: "an announcement");

/// What a new cluster is founded as, if this replica founds it.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// The cluster's number.
    pub cluster: u64,
    /// Seed of the key hash.
    pub seed: u64,
    /// Number of segments.
    pub segments: u16,
    /// Longest value, in bytes.
    pub max_value_len: u32,
}

/// A replica that is not part of a cluster yet.
#[derive(Debug)]
pub struct Formation {
    own: ReplicaId,
    disk: u64,
    members: Vec<ReplicaId>,
    wish: Wish,
    /// The disks of others that are not part of a cluster either.
    empty: BTreeMap<ReplicaId, u64>,
}

impl Formation {
    /// Of a replica with this disk, among these members, itself one of them.
    pub fn new(own: ReplicaId, disk: u64, mut members: Vec<ReplicaId>, wish: Wish) -> Formation {
        members.sort_unstable();
        Formation { own, disk, members, wish, empty: BTreeMap::new() }
    }

    /// What to tell others.
    pub fn announcement(&self) -> Announcement {
        Announcement { members: self.members.clone(), disk: self.disk, founding: None, configuration: None }
    }

    /// Another member told about itself. Answers with the cluster that this replica is part of from now on, if that is
    /// known now.
    ///
    /// # Errors
    /// The two were not started for the same cluster, or this replica is not in it yet; the text is for people.
    pub fn heard(&mut self, from: ReplicaId, announcement: &Announcement) -> Result<Option<Found>, String> {
        if let Some(founding) = &announcement.founding {
            let own = self.own;
            let configuration = announcement.members_in_force().filter(|configuration| configuration.has_member(own));
            let Some(configuration) = configuration else {
                return Err(format!(
                    "replica {from} is part of a cluster that replica {own} is no member of: add it with `skink replica \
                     add {own}=HOST:PORT`, where HOST:PORT is how the others reach it, and it comes in; if it is not to be \
                     one, correct --replica and --cluster"
                ));
            };
            return Ok(Some(Found { founding: founding.clone(), configuration }));
        }
        if announcement.members != self.members {
            let list = |members: &[ReplicaId]| {
                let members: Vec<String> = members.iter().map(ToString::to_string).collect();
                members.join(", ")
            };
            return Err(format!(
                "replica {from} was started for the members {}, this one for {}: start all with the same --cluster",
                list(&announcement.members),
                list(&self.members)
            ));
        }
        self.empty.insert(from, announcement.disk);
        Ok(self.found())
    }

    /// Members that this replica has not heard of yet.
    pub fn missing(&self) -> Vec<ReplicaId> {
        let others = self.members.iter().filter(|member| **member != self.own);
        others.filter(|member| !self.empty.contains_key(member)).copied().collect()
    }

    fn found(&self) -> Option<Found> {
        if self.members.first() != Some(&self.own) || !self.missing().is_empty() {
            return None;
        }
        let disk = |member: &ReplicaId| match self.empty.get(member) {
            Some(disk) => *disk,
            None => self.disk,
        };
        let Wish { cluster, seed, segments, max_value_len } = self.wish;
        let disks = self.members.iter().map(|member| (*member, disk(member))).collect();
        let founding = Founding { cluster, seed, segments, max_value_len, disks };
        let configuration = founding.configuration()?;
        Some(Found { founding, configuration })
    }
}

#[cfg(test)]
mod tests {
    use super::{Announcement, Formation, Found, Founding, Label, Wish};
    use crate::paxos::{Configuration, MembershipChange, ReplicaId};
    use skink_engine::position::Instance;

    const WISH: Wish = Wish { cluster: 7, seed: 8, segments: 4, max_value_len: 1024 };

    fn replica(number: u8) -> ReplicaId {
        ReplicaId::new(number).unwrap()
    }

    fn formation(own: u8, disk: u64, members: &[u8]) -> Formation {
        Formation::new(replica(own), disk, members.iter().map(|member| replica(*member)).collect(), WISH)
    }

    fn formed(founding: &Founding, by: &Formation) -> Announcement {
        Announcement { founding: Some(founding.clone()), ..by.announcement() }
    }

    #[test]
    fn the_first_member_founds_when_all_are_there() {
        let mut first = formation(1, 11, &[3, 1, 2]);
        let mut second = formation(2, 22, &[1, 2, 3]);
        let third = formation(3, 33, &[1, 2, 3]);
        assert_eq!(second.heard(replica(1), &first.announcement()), Ok(None));
        assert_eq!(second.heard(replica(3), &third.announcement()), Ok(None), "it is not the first one");
        assert_eq!(first.heard(replica(3), &third.announcement()), Ok(None));
        assert_eq!(first.missing(), [replica(2)]);
        let found = first.heard(replica(2), &second.announcement()).unwrap().unwrap();
        let founding = &found.founding;
        assert_eq!(founding.disks, [(replica(1), 11), (replica(2), 22), (replica(3), 33)]);
        assert_eq!(second.heard(replica(1), &formed(founding, &first)), Ok(Some(found.clone())));
        let label = |disk| {
            let founding = Some(founding.clone());
            Label { own: replica(2), disk, incarnation: 1, founding, is_made: false, joined: None }
        };
        assert!(label(22).is_founder());
        assert!(!label(23).is_founder(), "another disk in its place");
        assert_eq!(label(22).first_configuration().unwrap().members().len(), 3);
    }

    #[test]
    fn a_first_member_that_lost_its_disk_founds_nothing() {
        let mut founder = formation(1, 11, &[1, 2]);
        let other = formation(2, 22, &[1, 2]);
        let found = founder.heard(replica(2), &other.announcement()).unwrap().unwrap();
        let mut again = formation(1, 99, &[1, 2]);
        assert_eq!(again.heard(replica(2), &formed(&found.founding, &other)), Ok(Some(found.clone())));
        assert!(!found.founding.disks.contains(&(replica(1), 99)));
    }

    #[test]
    fn who_was_started_for_another_cluster_is_told_so() {
        let mut first = formation(1, 11, &[1, 2, 3]);
        let other = formation(2, 22, &[1, 2]);
        let error = first.heard(replica(2), &other.announcement()).unwrap_err();
        assert!(error.contains("members 1, 2, this one for 1, 2, 3"), "{error}");
    }

    #[test]
    fn who_is_to_be_added_waits_until_it_is() {
        let mut founder = formation(1, 11, &[1, 2]);
        let other = formation(2, 22, &[1, 2]);
        let Found { founding, configuration } = founder.heard(replica(2), &other.announcement()).unwrap().unwrap();
        let mut added = formation(3, 33, &[1, 2, 3]);
        let error = added.heard(replica(2), &formed(&founding, &other)).unwrap_err();
        assert!(error.contains("skink replica add 3=HOST:PORT"), "{error}");
        let change = MembershipChange::Add { replica: replica(3), address: "c:1".into() };
        let next = change.stop_sign(&configuration).unwrap();
        let next = Configuration::after(&next, Instance::new(7).unwrap()).unwrap();
        let announcement = Announcement { configuration: Some(next.clone()), ..formed(&founding, &other) };
        let found = added.heard(replica(2), &announcement).unwrap().unwrap();
        assert_eq!(found, Found { founding, configuration: next });
        // One that was there at the founding may have been removed.
        let change = MembershipChange::Remove { replica: replica(1) };
        let next = change.stop_sign(&found.configuration).unwrap();
        let next = Configuration::after(&next, Instance::new(9).unwrap()).unwrap();
        let announcement = Announcement { configuration: Some(next), ..announcement };
        assert!(formation(1, 99, &[1, 2]).heard(replica(2), &announcement).is_err());
    }

    #[test]
    fn labels_and_announcements_come_back_and_damage_is_an_error() {
        let announcement = formation(1, 11, &[1, 2]).announcement();
        let bytes = announcement.encode();
        assert_eq!(Announcement::decode(&bytes).as_ref(), Ok(&announcement));
        for len in 0..bytes.len() {
            assert!(Announcement::decode(&bytes[..len]).is_err(), "cut to {len}");
        }
        assert!(Label::decode(&[9]).unwrap_err().contains("version 9"));
        assert_eq!(bytes, [2, 2, 1, 2, 11, 0, 0]);
        assert_eq!(Announcement::decode(&[1, 2, 1, 2, 11, 0]), Ok(announcement), "version 1");
    }

    #[test]
    fn labels_are_version_2_and_those_of_version_1_are_read() {
        let founding =
            Founding { cluster: 7, seed: 8, segments: 4, max_value_len: 300, disks: vec![(replica(2), 300)] };
        let joined = Configuration::new(2, vec![replica(2), replica(3)], Instance::new(5).unwrap()).unwrap();
        let joined = joined.with_addresses(vec![(replica(3), "c:1".into())]).unwrap();
        let label = |joined| Label {
            own: replica(2),
            disk: 9,
            incarnation: 1,
            founding: Some(founding.clone()),
            is_made: true,
            joined,
        };
        let old = [1, 2, 9, 1, 1, 7, 8, 4, 172, 2, 1, 2, 172, 2, 1];
        assert_eq!(Label::decode(&old), Ok(label(None)));
        let tail = [1, 2, 2, 2, 3, 5, 1, 3, 3, b'c', b':', b'1'];
        assert_eq!(label(Some(joined.clone())).encode(), [&[2], &old[1..], &tail].concat());
        assert_eq!(Label::decode(&label(Some(joined.clone())).encode()), Ok(label(Some(joined))));
    }
}
