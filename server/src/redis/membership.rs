//! The members of a cluster: `REPLICA ADD` and `REPLICA REMOVE`, which no Redis has.

use super::arguments::ArgumentReader;
use super::table::{CommandSpec, Flags, KeyPositions};
use super::{ConnectionRequest, Request, RequestError, catalog};
use skink_replication::paxos::{MAX_ADDRESS_LEN, MembershipChange, ReplicaId};

const ADMIN: Flags = Flags::ADMIN.and(Flags::LOADING);
const NONE: KeyPositions = KeyPositions::NONE;
const GROUP: &str = "server";

pub(super) static COMMANDS: &[CommandSpec] =
    &[CommandSpec::new("replica", -2, ADMIN, NONE, GROUP, "The members of the cluster.", catalog::help_request)
        .with_subcommands(&[
            CommandSpec::new("replica|add", 4, ADMIN, NONE, GROUP, "Lets a replica come in.", add),
            CommandSpec::new("replica|remove", 3, ADMIN, NONE, GROUP, "Lets a replica go.", remove),
            CommandSpec::new(
                "replica|help",
                2,
                Flags::LOADING,
                NONE,
                GROUP,
                "Lists the subcommands.",
                catalog::help_request,
            ),
        ])];

fn add(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let replica = number(&mut reader)?;
    let address = reader.required()?;
    let address = std::str::from_utf8(&address).ok().filter(|address| is_address(address));
    let address = address.ok_or(RequestError::ReplicaAddress)?.to_owned();
    Ok(Request::Connection(ConnectionRequest::ChangeMembers(MembershipChange::Add { replica, address })))
}

fn remove(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let replica = number(&mut reader)?;
    Ok(Request::Connection(ConnectionRequest::ChangeMembers(MembershipChange::Remove { replica })))
}

fn number(reader: &mut ArgumentReader) -> Result<ReplicaId, RequestError> {
    let number = reader.integer().map_err(|_| RequestError::ReplicaNumber)?;
    u8::try_from(number).ok().and_then(ReplicaId::new).ok_or(RequestError::ReplicaNumber)
}

/// Whether something may be `HOST:PORT`; who dials it finds out whether it is.
fn is_address(text: &str) -> bool {
    let is_short = text.len() <= MAX_ADDRESS_LEN && text.bytes().all(|byte| byte.is_ascii_graphic());
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    is_short && port.is_some_and(|port| port > 0)
}
