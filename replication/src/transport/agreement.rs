//! What two replicas must agree on before they talk in sessions, and who may come in.

use super::handshake::{AgreementClaim, MAX_DESCRIPTION_LEN, readable};
use super::negotiation::Applicant;
use crate::paxos::ReplicaId;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What the replicas of a cluster have in common: which cluster it is, formats, versions, seeds. Only its hash is sent,
/// along with a description for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    hash: [u8; 32],
    description: String,
}

impl Agreement {
    /// The agreement on these bytes. The description is cut to some 380 bytes.
    pub fn new(bytes: &[u8], description: &str) -> Agreement {
        Agreement { hash: Sha256::digest(bytes).into(), description: readable(description, MAX_DESCRIPTION_LEN) }
    }

    pub(super) fn claim(&self) -> AgreementClaim {
        AgreementClaim { hash: self.hash, description: self.description.clone() }
    }
}

/// Whether a replica that knows the secret may open a session, or why not.
pub(super) fn admit<Peer>(
    applicant: &Applicant,
    own: ReplicaId,
    agreement: Option<&Agreement>,
    peers: &BTreeMap<ReplicaId, Peer>,
) -> Result<(), String> {
    let from = applicant.hello.from;
    let Some(agreement) = agreement else {
        return Err(format!("replica {own} opens no sessions yet: it is starting, or its cluster is not formed"));
    };
    let Some(claim) = &applicant.claim.agreement else {
        return Err(format!("replica {from} does not say which cluster it is of"));
    };
    if claim.hash != agreement.hash {
        return Err(format!(
            "replica {from} has {}, replica {own} has {}: they are of different clusters, or must be made alike",
            readable(&claim.description, MAX_DESCRIPTION_LEN),
            agreement.description
        ));
    }
    if !peers.contains_key(&from) {
        let members: Vec<String> = peers.keys().map(ToString::to_string).collect();
        let members = members.join(", ");
        return Err(format!("replica {from} is no member: replica {own} knows of {members} beside itself"));
    }
    if from < own {
        return Err(format!("replica {from} may not dial replica {own}: the one with the higher number dials"));
    }
    Ok(())
}

/// Whether this is the replica that was meant, or why not.
pub(super) fn check_address(applicant: &Applicant, own: ReplicaId) -> Result<(), String> {
    let (from, to) = (applicant.hello.from, applicant.hello.to);
    if to != own {
        return Err(format!(
            "this is replica {own}, not replica {to}: correct the address that replica {from} has of it"
        ));
    }
    if from == own {
        return Err(format!("two replicas have the number {own}: give each its own"));
    }
    Ok(())
}
