//! Who makes up a cluster: each replica's number, and where the others reach it.
//!
//! As a flag it is `1=HOST:PORT,2=HOST:PORT`, in a file a table; both are checked entry by entry, by the same code.

use super::address::{AddressError, PeerAddress};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use skink_replication::paxos::ReplicaId;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Fewest replicas of a cluster.
const MIN_MEMBERS: usize = 2;

/// The members of a cluster: two or more, each with an address of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members(BTreeMap<ReplicaId, PeerAddress>);

/// One replica, and where the others reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMember {
    /// Its number.
    pub replica: ReplicaId,
    /// Where.
    pub address: PeerAddress,
}

impl NewMember {
    fn of(number: &str, address: &str) -> Result<NewMember, MembersError> {
        let replica = number.parse().ok().and_then(ReplicaId::new);
        let replica = replica.ok_or_else(|| MembersError::WrongNumber(number.to_string()))?;
        let address: PeerAddress = address.parse().map_err(|source| MembersError::Address { replica, source })?;
        if address.is_unspecified() {
            return Err(MembersError::Unspecified { replica, address });
        }
        Ok(NewMember { replica, address })
    }
}

impl FromStr for NewMember {
    type Err = MembersError;

    fn from_str(text: &str) -> Result<NewMember, MembersError> {
        let (number, address) = entry(text)?;
        NewMember::of(&number, &address)
    }
}

/// The two sides of `NUMBER=HOST:PORT`.
fn entry(text: &str) -> Result<(String, String), MembersError> {
    match text.split_once('=') {
        Some((number, address)) => Ok((number.trim().to_string(), address.trim().to_string())),
        None => Err(MembersError::NoEntry(text.to_string())),
    }
}

/// Entries that make no cluster.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MembersError {
    /// An entry has another form.
    #[error("`{0}` is no replica's entry: write NUMBER=HOST:PORT, such as 1=10.0.0.1:7380")]
    NoEntry(String),
    /// The number is none.
    #[error("`{0}` is no replica's number: they are from 1 to {max}", max = ReplicaId::MAX)]
    WrongNumber(String),
    /// The address is none.
    #[error("replica {replica}: {source}")]
    Address {
        /// Whose.
        replica: ReplicaId,
        /// Why.
        source: AddressError,
    },
    /// Nobody can connect there.
    #[error(
        "replica {replica}: `{address}` stands for all addresses of a machine, which others can't connect to: \
             name one of them here, and listen on all of them with --peer-listen {address}"
    )]
    Unspecified {
        /// Whose.
        replica: ReplicaId,
        /// The address.
        address: PeerAddress,
    },
    /// Two entries of one replica.
    #[error("replica {0} is named twice: give each replica a number of its own")]
    SameNumber(ReplicaId),
    /// Two replicas in one place.
    #[error("replicas {first} and {second} both have the address {address}: each needs its own")]
    SameAddress {
        /// The one.
        first: ReplicaId,
        /// The other.
        second: ReplicaId,
        /// Where both would be.
        address: PeerAddress,
    },
    /// Too few.
    #[error("a cluster has {MIN_MEMBERS} to {max} replicas, and this names {0}; a single one needs no --cluster", max = ReplicaId::MAX)]
    TooFew(usize),
}

impl Members {
    /// The members' addresses.
    pub fn addresses(&self) -> &BTreeMap<ReplicaId, PeerAddress> {
        &self.0
    }

    fn of(entries: &[(String, String)]) -> Result<Members, MembersError> {
        let mut members: BTreeMap<ReplicaId, PeerAddress> = BTreeMap::new();
        for (number, address) in entries {
            let NewMember { replica, address } = NewMember::of(number, address)?;
            if let Some((first, _)) = members.iter().find(|(_, other)| **other == address) {
                let (first, second) = (*first, replica);
                // Of one entry written twice, the number is what was copied.
                return Err(if first == second {
                    MembersError::SameNumber(replica)
                } else {
                    MembersError::SameAddress { first, second, address }
                });
            }
            if members.insert(replica, address).is_some() {
                return Err(MembersError::SameNumber(replica));
            }
        }
        // More than there are numbers can't be.
        if members.len() < MIN_MEMBERS { Err(MembersError::TooFew(members.len())) } else { Ok(Members(members)) }
    }
}

impl FromStr for Members {
    type Err = MembersError;

    fn from_str(text: &str) -> Result<Members, MembersError> {
        Members::of(&text.split(',').map(entry).collect::<Result<Vec<_>, _>>()?)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of replicas, such as: 1 = \"10.0.0.1:7380\"")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Members::of(&entries).map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_map(Table)
    }
}

#[cfg(test)]
mod tests {
    use super::Members;

    fn error(text: &str) -> String {
        text.parse::<Members>().unwrap_err().to_string()
    }

    #[test]
    fn members_have_numbers_and_addresses() {
        let members: Members = "3=c:7380, 1=10.0.0.1:7380,2=[::1]:7380".parse().unwrap();
        let shown: Vec<String> = members.addresses().iter().map(|(id, address)| format!("{id}={address}")).collect();
        assert_eq!(shown, ["1=10.0.0.1:7380", "2=[::1]:7380", "3=c:7380"]);
    }

    #[test]
    fn the_entry_that_is_wrong_is_named() {
        let cases = [
            ("1=a:1,b:2", "`b:2` is no replica's entry: write NUMBER=HOST:PORT"),
            ("1=a:1,", "`` is no replica's entry"),
            ("1=a:1,0=b:2", "`0` is no replica's number: they are from 1 to 15"),
            ("1=a:1,16=b:2", "`16` is no replica's number"),
            ("1=a:1,x=b:2", "`x` is no replica's number"),
            ("1=a:1,2=b", "replica 2: `b` has no port"),
            ("1=a:1,2=b:0", "replica 2: `b:0` ends with no port"),
            ("1=a:1,2=0.0.0.0:2", "replica 2: `0.0.0.0:2` stands for all addresses"),
            ("1=a:1,1=b:2", "replica 1 is named twice"),
            ("1=a:1,1=a:1", "replica 1 is named twice"),
            ("1=a:1,2=b:1,3=A:1", "replicas 1 and 3 both have the address a:1"),
            ("1=a:1", "a cluster has 2 to 15 replicas, and this names 1"),
        ];
        for (text, expected) in cases {
            assert!(error(text).contains(expected), "{text}: {}", error(text));
        }
    }

    #[test]
    fn fifteen_is_the_most() {
        let entries: Vec<String> = (1..=15).map(|number| format!("{number}=a:{number}")).collect();
        assert_eq!(entries.join(",").parse::<Members>().unwrap().addresses().len(), 15);
        assert!(error(&(entries.join(",") + ",16=a:16")).contains("`16`"));
    }
}
