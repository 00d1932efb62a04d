//! Before a replica among others can run: which cluster its data directory belongs to, or is going to.

use super::{ClusterOptions, ReplicaOptions};
use crate::formation::{Announcement, FOUNDERS_INCARNATION, Formation, Found, Founding, Label, Wish};
use crate::node::Membership;
use crate::paxos::ReplicaId;
use crate::transport::{Secret, Transport, TransportError, TransportEvent, TransportOptions};
use skink_engine::directory::Directory;
use skink_engine::engine::{EngineOptions, Identity};
use skink_engine::env::Environment;
use skink_engine::error::Fault;
use skink_engine::label;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often others are asked what they are.
const ASK_STEP: Duration = Duration::from_millis(200);
/// How often it is said who is missing.
const SAY_STEP: Duration = Duration::from_secs(10);

/// A replica that knows its cluster.
pub(super) struct Joined {
    pub(super) membership: Membership,
    /// What its data directory is made with.
    pub(super) engine: EngineOptions,
    pub(super) founding: Founding,
    /// What it tells others about itself.
    pub(super) announcement: Announcement,
    pub(super) label: Label,
}

/// Finds out which cluster a data directory belongs to, and listens for the others. With an empty one, it waits for the other
/// members.
///
/// # Errors
/// The directory belongs to something else, or the settings can't be used.
pub(super) fn join(
    environment: &Environment,
    root: &Path,
    options: &ReplicaOptions,
) -> Result<(Joined, Transport), Fault> {
    let Some(cluster) = &options.cluster else {
        return Err(Fault::Refused("a single replica has no cluster to join".into()));
    };
    let mut label = read_label(environment, root, cluster)?;
    let mut transport = bind(environment, cluster)?;
    if label.founding.is_none() {
        let Found { founding, configuration } = form(environment, root, options, cluster, &label, &mut transport)?;
        label.founding = Some(founding);
        if !label.is_founder() {
            // Higher than that of any disk before, as those are.
            label.incarnation = environment.clock.now_ms().max(FOUNDERS_INCARNATION + 1);
            label.joined = Some(configuration);
        }
        label::write(environment, root, &label.encode())?;
    }
    let Some(founding) = label.founding.clone() else { unreachable!("it was just found out") };
    let Some(configuration) = label.first_configuration() else {
        return Err(Fault::Refused("the cluster was founded with members that can't be".into()));
    };
    let announcement = Announcement {
        members: members(cluster),
        disk: label.disk,
        founding: Some(founding.clone()),
        configuration: Some(configuration.clone()),
    };
    transport.set_discovery(announcement.encode());
    let membership =
        Membership { own: label.own, incarnation: label.incarnation, is_founder: label.is_founder(), configuration };
    let identity = Identity { cluster: founding.cluster, seed: founding.seed };
    let engine = EngineOptions {
        segments: founding.segments,
        max_value_len: founding.max_value_len,
        identity: Some(identity),
        ..options.engine
    };
    Ok((Joined { membership, engine, founding, announcement, label }, transport))
}

impl Joined {
    /// The data directory was made: from now on its parts are missed where they are not there.
    pub(super) fn is_made(&mut self, environment: &Environment, root: &Path) -> Result<(), Fault> {
        if self.label.is_made {
            return Ok(());
        }
        self.label.is_made = true;
        label::write(environment, root, &self.label.encode())
    }
}

fn members(cluster: &ClusterOptions) -> Vec<ReplicaId> {
    let mut members: Vec<ReplicaId> = cluster.peers.keys().copied().chain([cluster.own]).collect();
    members.sort_unstable();
    members.dedup();
    members
}

/// A directory's label. Where it can't be read as the directory can't be used at all, the fault says that.
pub(super) fn label_of(environment: &Environment, root: &Path) -> Result<Option<Vec<u8>>, Fault> {
    match label::read(environment, root) {
        Err(fault @ Fault::Corrupt { .. }) => Err(fault),
        Err(fault) => {
            drop(Directory::take(environment, root)?);
            Err(fault)
        }
        label => label,
    }
}

fn read_label(environment: &Environment, root: &Path, cluster: &ClusterOptions) -> Result<Label, Fault> {
    let shown = root.display();
    let is_made = environment.disk.metadata(&root.join("FORMAT")).is_ok();
    let Some(bytes) = label_of(environment, root)? else {
        if is_made {
            return Err(Fault::Refused(format!(
                "{shown} holds the data of a single replica: start it without --cluster, or name an empty folder"
            )));
        }
        // Whoever has the directory, or can't, is found out before anything is put there.
        drop(Directory::take(environment, root)?);
        let disk = (environment.random)();
        let label = Label {
            own: cluster.own,
            disk,
            incarnation: FOUNDERS_INCARNATION,
            founding: None,
            is_made: false,
            joined: None,
        };
        label::write(environment, root, &label.encode())?;
        return Ok(label);
    };
    let label = Label::decode(&bytes).map_err(|what| Fault::Refused(format!("{shown}: {what}")))?;
    if label.own != cluster.own {
        return Err(Fault::Refused(format!(
            "{shown} holds the data of replica {}, and this one was started as replica {}: name the right folder or --replica",
            label.own, cluster.own
        )));
    }
    if label.is_made && !is_made {
        return Err(Fault::Refused(format!(
            "{shown}/FORMAT is missing: the data directory was deleted in part; remove all of the folder, and this \
             replica gets the state from the others"
        )));
    }
    Ok(label)
}

fn bind(environment: &Environment, cluster: &ClusterOptions) -> Result<Transport, Fault> {
    let secret = match &cluster.secret {
        None => None,
        Some(bytes) => Some(Secret::new(bytes.clone()).ok_or_else(|| {
            Fault::Refused(format!("the cluster's secret must have at least {} bytes", Secret::MIN_LEN))
        })?),
    };
    let options = TransportOptions {
        peers: cluster.peers.clone(),
        secret,
        ..TransportOptions::new(cluster.own, cluster.listen, Arc::clone(&environment.random))
    };
    Transport::bind(options).map_err(transport_fault)
}

/// A fault of the transport as a whole.
pub(super) fn transport_fault(error: TransportError) -> Fault {
    Fault::Refused(format!("the connections to other replicas: {error}"))
}

/// Waits for the other members, until it is known which cluster this is.
fn form(
    environment: &Environment,
    root: &Path,
    options: &ReplicaOptions,
    cluster: &ClusterOptions,
    label: &Label,
    transport: &mut Transport,
) -> Result<Found, Fault> {
    let random = || (environment.random)();
    let wish = Wish {
        cluster: random(),
        seed: random(),
        segments: options.engine.segments,
        max_value_len: options.engine.max_value_len,
    };
    let mut formation = Formation::new(cluster.own, label.disk, members(cluster), wish);
    transport.set_discovery(formation.announcement().encode());
    let (mut asked, mut said): (Option<Instant>, Instant) = (None, Instant::now());
    let mut troubles: BTreeMap<ReplicaId, String> = BTreeMap::new();
    let mut events = Vec::new();
    tracing::info!(data = %root.display(), "the data directory is empty: waiting for the other replicas");
    loop {
        if asked.is_none_or(|asked| asked.elapsed() >= ASK_STEP) {
            asked = Some(Instant::now());
            cluster.peers.keys().for_each(|peer| transport.discover(*peer));
        }
        if said.elapsed() >= SAY_STEP {
            said = Instant::now();
            let missing: Vec<String> = formation.missing().iter().map(ToString::to_string).collect();
            tracing::info!(missing = missing.join(", "), "a new cluster begins when all of its replicas are there");
        }
        transport.poll(ASK_STEP, &mut events).map_err(transport_fault)?;
        for event in events.drain(..) {
            match event {
                TransportEvent::Discovered { peer, blob } => {
                    let heard =
                        Announcement::decode(&blob).and_then(|announcement| formation.heard(peer, &announcement));
                    match heard {
                        Ok(None) => drop(troubles.remove(&peer)),
                        Ok(Some(found)) => return Ok(found),
                        Err(what) if troubles.get(&peer) != Some(&what) => {
                            tracing::error!("{what}");
                            troubles.insert(peer, what);
                        }
                        Err(_) => {}
                    }
                }
                TransportEvent::Trouble { text, .. } => tracing::warn!("{text}"),
                _ => {}
            }
        }
    }
}
