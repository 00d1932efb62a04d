//! `skink replica`: replicas that come in, go, or come back without their disk; said to any server of the cluster.
//!
//! ```text
//! add N=HOST:PORT --> REPLICA ADD ----> a member --> waits until it serves
//! remove N ---------> REPLICA REMOVE -> no member
//! replace N --------> is it away? ----> to be started with an empty folder --> waits until it serves
//! ```
//!
//! What it waits for goes on without it.

use crate::cli::{ReplicaArguments, ReplicaCommand};
use crate::client::{Client, ClientError, Reply, Timeouts};
use crate::replicas::{self, ReplicaRow, ReplicasError};
use crate::settings::NewMember;
use skink_replication::paxos::ReplicaId;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use thiserror::Error;

/// The state of a replica that the server that was asked does not reach.
const UNREACHABLE: &str = "unreachable";
/// Between two looks at how the replicas stand.
const LOOK_STEP: Duration = Duration::from_millis(500);

/// Why nothing came of it.
#[derive(Debug, Error)]
pub enum ReplicaError {
    /// The server can't be talked to.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server does not do it.
    #[error("the members stay as they are: {0}")]
    Refused(String),
    /// How the replicas stand is not to be had.
    #[error("how the replicas stand is not known")]
    Replicas(#[from] ReplicasError),
    /// There is nothing to replace.
    #[error("replica {0} is no member: add it with `skink replica add {0}=HOST:PORT`")]
    NoMember(ReplicaId),
    /// It is there.
    #[error(
        "replica {replica} is there ({state}): stop it first. One whose disk is good is only started again; replace is for \
         one whose disk is lost"
    )]
    IsThere {
        /// Which one.
        replica: ReplicaId,
        /// How it stands.
        state: String,
    },
    /// It went while it was waited for.
    #[error("replica {0} was removed meanwhile")]
    Gone(ReplicaId),
}

/// Does it, and tells how it goes on stdout.
///
/// # Errors
/// The server can't be talked to, or refuses.
pub fn run(arguments: &ReplicaArguments) -> Result<ExitCode, ReplicaError> {
    let mut client = Client::connect(&arguments.connect, Timeouts::default())?;
    match &arguments.command {
        ReplicaCommand::Add { member, no_wait } => {
            let NewMember { replica, address } = member;
            change(&mut client, &[b"REPLICA", b"ADD", replica.to_string().as_bytes(), address.to_string().as_bytes()])?;
            say(&format!("replica {replica} is a member of the cluster now; it has no vote before it has come in"));
            if !no_wait {
                wait_for(&mut client, *replica, &start_hint(*replica))?;
            }
        }
        ReplicaCommand::Remove { replica } => {
            change(&mut client, &[b"REPLICA", b"REMOVE", replica.to_string().as_bytes()])?;
            say(&format!(
                "replica {replica} is no member of the cluster any more; stop it. It can come in again with an empty folder"
            ));
        }
        ReplicaCommand::Replace { replica } => {
            let row = find(&mut client, *replica)?.ok_or(ReplicaError::NoMember(*replica))?;
            if row.state != UNREACHABLE {
                return Err(ReplicaError::IsThere { replica: *replica, state: row.state });
            }
            say(&format!("replica {replica} is away, and stays a member"));
            wait_for(&mut client, *replica, &start_hint(*replica))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) {
    // Whoever closed stdout does not want to know.
    let _ = writeln!(io::stdout(), "{text}");
}

fn start_hint(replica: ReplicaId) -> String {
    format!(
        "start it with an empty folder: skink serve --data DIR --replica {replica} --cluster N=HOST:PORT,... (all members, \
         and itself)"
    )
}

fn change(client: &mut Client, request: &[&[u8]]) -> Result<(), ReplicaError> {
    match client.request(request)? {
        Reply::Error(text) => {
            let text = text.strip_prefix("ERR ").or(text.strip_prefix("CLUSTERDOWN ")).unwrap_or(&text);
            Err(ReplicaError::Refused(text.to_string()))
        }
        _ => Ok(()),
    }
}

fn find(client: &mut Client, replica: ReplicaId) -> Result<Option<ReplicaRow>, ReplicaError> {
    Ok(replicas::ask(client)?.into_iter().find(|row| row.replica == u64::from(replica.get())))
}

/// A line for people.
fn progress(row: &ReplicaRow, hint: &str) -> String {
    let ReplicaRow { replica, role, state, lag, .. } = row;
    match state.as_str() {
        UNREACHABLE => format!("replica {replica} can't be reached; {hint}"),
        "installing" if role == "silent" => format!("replica {replica} waits for its vote"),
        "installing" => format!("replica {replica} gets the state"),
        "catching up" => format!("replica {replica} catches up: {lag} instances to go"),
        "serving" => format!("replica {replica} serves as {role}"),
        state => format!("replica {replica}: {state}"),
    }
}

/// Tells how a replica comes in, until it serves.
fn wait_for(client: &mut Client, replica: ReplicaId, hint: &str) -> Result<(), ReplicaError> {
    let mut said = String::new();
    loop {
        let row = find(client, replica)?.ok_or(ReplicaError::Gone(replica))?;
        let progress = progress(&row, hint);
        if progress != said {
            say(&progress);
            said = progress;
        }
        if row.is_serving() {
            return Ok(());
        }
        std::thread::sleep(LOOK_STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::progress;
    use crate::replicas::ReplicaRow;
    use crate::replicas::tests::replica;

    #[test]
    fn how_a_replica_comes_in_is_told_step_by_step() {
        let told = |role, state| progress(&replica(4, role, state, 9), "start it");
        assert_eq!(told("searching", "unreachable"), "replica 4 can't be reached; start it");
        assert_eq!(told("silent", "installing"), "replica 4 waits for its vote");
        assert_eq!(told("follower", "installing"), "replica 4 gets the state");
        let behind = ReplicaRow { lag: 70, ..replica(4, "follower", "catching up", 9) };
        assert_eq!(progress(&behind, ""), "replica 4 catches up: 70 instances to go");
        assert_eq!(told("follower", "serving"), "replica 4 serves as follower");
        assert_eq!(told("follower", "disk full"), "replica 4: disk full");
    }
}
