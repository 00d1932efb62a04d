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

#[cfg(test)]
mod tests {
    use super::{Agreement, admit, check_address};
    use crate::paxos::ReplicaId;
    use crate::transport::negotiation::tests::applicant;
    use std::collections::BTreeMap;

    fn replica(number: u8) -> ReplicaId {
        ReplicaId::new(number).unwrap()
    }

    #[test]
    fn a_member_of_the_same_cluster_is_admitted() {
        let peers = BTreeMap::from([(replica(1), ()), (replica(3), ())]);
        let ours = Agreement::new(b"ours", "cluster 7");
        let admit = |from, theirs: Option<&Agreement>, ours: Option<&Agreement>| {
            admit(&applicant(from, 2, theirs.map(Agreement::claim)), replica(2), ours, &peers)
        };
        assert_eq!(admit(3, Some(&ours), Some(&ours)), Ok(()));
        let text = |result: Result<(), String>| result.unwrap_err();
        assert!(text(admit(3, Some(&ours), None)).contains("replica 2 opens no sessions yet"));
        assert!(text(admit(3, None, Some(&ours))).contains("does not say which cluster"));
        let theirs = Agreement::new(b"theirs", "cluster 8");
        let mismatch = text(admit(3, Some(&theirs), Some(&ours)));
        assert!(mismatch.contains("replica 3 has cluster 8, replica 2 has cluster 7"), "{mismatch}");
        assert!(text(admit(4, Some(&ours), Some(&ours))).contains("replica 4 is no member: replica 2 knows of 1, 3"));
        assert!(text(admit(1, Some(&ours), Some(&ours))).contains("the one with the higher number dials"));
        assert_ne!(Agreement::new(b"theirs", "cluster 7"), ours, "descriptions are for people");
    }

    #[test]
    fn a_wrong_address_is_told() {
        assert_eq!(check_address(&applicant(3, 2, None), replica(2)), Ok(()));
        let text = check_address(&applicant(3, 1, None), replica(2)).unwrap_err();
        assert!(text.contains("this is replica 2, not replica 1"), "{text}");
        let text = check_address(&applicant(2, 2, None), replica(2)).unwrap_err();
        assert!(text.contains("two replicas have the number 2"), "{text}");
    }

    #[test]
    fn refusals_fit_their_text() {
        let long = "d".repeat(2000);
        let (ours, theirs) = (Agreement::new(b"ours", &long), Agreement::new(b"theirs", &long));
        let applicant = applicant(3, 2, Some(theirs.claim()));
        let text = admit(&applicant, replica(2), Some(&ours), &BTreeMap::from([(replica(3), ())])).unwrap_err();
        assert!(text.len() <= crate::transport::handshake::MAX_TEXT_LEN, "{}", text.len());
    }
}
