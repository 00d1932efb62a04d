//! From and to the object's own messages; and the object itself.

use super::configuration::{Ballot, Configuration, ReplicaId};
use super::entry::{Entry, Slot};
use super::message::{Message, Sequence, Sign, Sync};
use super::storage::{LogHandle, stop_sign_from_object, stop_sign_to_object};
use omnipaxos::messages::Message as ObjectMessage;
use omnipaxos::messages::ballot_leader_election::{BLEMessage, HeartbeatMsg, HeartbeatReply, HeartbeatRequest};
use omnipaxos::messages::sequence_paxos::{
    AcceptDecide, AcceptStopSign, AcceptSync, Accepted, Decide, NotAccepted, PaxosMessage, PaxosMsg, Prepare,
    PrepareReq, Promise,
};
use omnipaxos::util::{LogSync, SequenceNumber};
use omnipaxos::{ClusterConfig, OmniPaxos, OmniPaxosConfig, ServerConfig};

pub(super) type Object = OmniPaxos<Slot, LogHandle>;

/// Messages that the object makes room for at once (rule 10).
const BUFFER: usize = 1024;

/// A new object over the storage, as after a crash.
pub(super) fn build(
    own: ReplicaId,
    configuration: &Configuration,
    election_ticks: u64,
    resend_ticks: u64,
    log: LogHandle,
) -> Object {
    let nodes = configuration.members().iter().map(|member| member.pid()).collect();
    let config = OmniPaxosConfig {
        cluster_config: ClusterConfig { configuration_id: configuration.id(), nodes, flexible_quorum: None },
        server_config: ServerConfig {
            pid: own.pid(),
            election_tick_timeout: election_ticks,
            resend_message_tick_timeout: resend_ticks,
            buffer_size: BUFFER,
            batch_size: 1,
            ..ServerConfig::default()
        },
    };
    match config.build(log) {
        Ok(object) => object,
        Err(error) => panic!("configurations were checked: {error}"),
    }
}

/// What the object wants to send.
#[derive(Debug)]
pub(super) enum Outgoing {
    Ordered(Message),
    Sign(Sign),
}

fn sequence(number: SequenceNumber) -> Sequence {
    Sequence { sync: number.session, number: number.counter }
}

fn sequence_number(sequence: Sequence) -> SequenceNumber {
    SequenceNumber { session: sequence.sync, counter: sequence.number }
}

fn entries(slots: Vec<Slot>) -> Vec<Entry> {
    let entry = |slot| match slot {
        Slot::Entry(entry) => Some(entry),
        Slot::Gap(_) => None,
    };
    slots.into_iter().filter_map(entry).collect()
}

fn slots(entries: Vec<Entry>) -> Vec<Slot> {
    entries.into_iter().map(Slot::Entry).collect()
}

fn sync_from_object(sync: LogSync<Slot>, configuration: &Configuration) -> Sync {
    let gap_end = match sync.suffix.first() {
        Some(Slot::Gap(len)) => Some(configuration.instance(*len)),
        _ => None,
    };
    Sync {
        after: configuration.instance(sync.sync_idx),
        gap_end,
        entries: entries(sync.suffix),
        stop_sign: sync.stopsign.as_ref().map(stop_sign_from_object),
    }
}

fn sync_to_object(sync: Sync, configuration: &Configuration) -> Option<LogSync<Slot>> {
    let gap = match sync.gap_end {
        Some(end) => Some(Slot::Gap(configuration.len_at(end)?)),
        None => None,
    };
    Some(LogSync {
        decided_snapshot: None,
        suffix: gap.into_iter().chain(slots(sync.entries)).collect(),
        sync_idx: configuration.len_at(sync.after)?,
        stopsign: sync.stop_sign.as_ref().map(stop_sign_to_object),
    })
}

/// A message of the object, and who gets it; nothing where ours has no such message: the machine never lets the
/// object forward proposals or compact (rules 1 and 9).
pub(super) fn from_object(
    message: ObjectMessage<Slot>,
    configuration: &Configuration,
) -> Option<(ReplicaId, Outgoing)> {
    let to = ReplicaId::from_pid(message.get_receiver())?;
    let at = |len| configuration.instance(len);
    let ballot = Ballot::from_object;
    let message = match message {
        ObjectMessage::BLE(BLEMessage { msg: HeartbeatMsg::Request(request), .. }) => {
            return Some((to, Outgoing::Sign(Sign::Request { round: request.round })));
        }
        ObjectMessage::BLE(BLEMessage { msg: HeartbeatMsg::Reply(reply), .. }) => {
            let HeartbeatReply { round, happy, .. } = reply;
            let (own, leader) = (ballot(reply.ballot), ballot(reply.leader));
            return Some((to, Outgoing::Sign(Sign::Reply { round, ballot: own, leader, is_happy: happy })));
        }
        ObjectMessage::SequencePaxos(message) => match message.msg {
            PaxosMsg::PrepareReq(m) => Message::PrepareRequest { ballot: ballot(m.n) },
            PaxosMsg::Prepare(m) => Message::Prepare {
                ballot: ballot(m.n),
                decided: at(m.decided_idx),
                accepted_round: ballot(m.n_accepted),
                accepted: at(m.accepted_idx),
            },
            PaxosMsg::Promise(m) => Message::Promise {
                ballot: ballot(m.n),
                accepted_round: ballot(m.n_accepted),
                decided: at(m.decided_idx),
                accepted: at(m.accepted_idx),
                sync: m.log_sync.map(|sync| sync_from_object(sync, configuration)),
            },
            PaxosMsg::AcceptSync(m) => Message::AcceptSync {
                ballot: ballot(m.n),
                sequence: sequence(m.seq_num),
                decided: at(m.decided_idx),
                sync: sync_from_object(m.log_sync, configuration),
            },
            PaxosMsg::AcceptDecide(m) => Message::AcceptDecide {
                ballot: ballot(m.n),
                sequence: sequence(m.seq_num),
                decided: at(m.decided_idx),
                entries: entries(m.entries),
            },
            PaxosMsg::Accepted(m) => Message::Accepted { ballot: ballot(m.n), accepted: at(m.accepted_idx) },
            PaxosMsg::NotAccepted(m) => Message::NotAccepted { ballot: ballot(m.n) },
            PaxosMsg::Decide(m) => {
                Message::Decide { ballot: ballot(m.n), sequence: sequence(m.seq_num), decided: at(m.decided_idx) }
            }
            PaxosMsg::AcceptStopSign(m) => Message::AcceptStopSign {
                ballot: ballot(m.n),
                sequence: sequence(m.seq_num),
                stop_sign: stop_sign_from_object(&m.ss),
            },
            PaxosMsg::ProposalForward(_) | PaxosMsg::Compaction(_) | PaxosMsg::ForwardStopSign(_) => return None,
        },
    };
    Some((to, Outgoing::Ordered(message)))
}

/// A message for the object; nothing for those that aren't its own.
pub(super) fn to_object(
    message: Message,
    from: ReplicaId,
    own: ReplicaId,
    configuration: &Configuration,
) -> Option<ObjectMessage<Slot>> {
    let at = |instance| configuration.len_at(instance);
    let n = |ballot: Ballot| ballot.to_object(configuration);
    let msg = match message {
        Message::PrepareRequest { ballot } => PaxosMsg::PrepareReq(PrepareReq { n: n(ballot) }),
        Message::Prepare { ballot, decided, accepted_round, accepted } => PaxosMsg::Prepare(Prepare {
            n: n(ballot),
            decided_idx: at(decided)?,
            n_accepted: n(accepted_round),
            accepted_idx: at(accepted)?,
        }),
        Message::Promise { ballot, accepted_round, decided, accepted, sync } => PaxosMsg::Promise(Promise {
            n: n(ballot),
            n_accepted: n(accepted_round),
            decided_idx: at(decided)?,
            accepted_idx: at(accepted)?,
            log_sync: match sync {
                Some(sync) => Some(sync_to_object(sync, configuration)?),
                None => None,
            },
        }),
        Message::AcceptSync { ballot, sequence, decided, sync } => PaxosMsg::AcceptSync(AcceptSync {
            n: n(ballot),
            seq_num: sequence_number(sequence),
            decided_idx: at(decided)?,
            log_sync: sync_to_object(sync, configuration)?,
        }),
        Message::AcceptDecide { ballot, sequence, decided, entries } => PaxosMsg::AcceptDecide(AcceptDecide {
            n: n(ballot),
            seq_num: sequence_number(sequence),
            decided_idx: at(decided)?,
            entries: slots(entries),
        }),
        Message::Accepted { ballot, accepted } => {
            PaxosMsg::Accepted(Accepted { n: n(ballot), accepted_idx: at(accepted)? })
        }
        Message::NotAccepted { ballot } => PaxosMsg::NotAccepted(NotAccepted { n: n(ballot) }),
        Message::Decide { ballot, sequence, decided } => {
            PaxosMsg::Decide(Decide { n: n(ballot), seq_num: sequence_number(sequence), decided_idx: at(decided)? })
        }
        Message::AcceptStopSign { ballot, sequence, stop_sign } => PaxosMsg::AcceptStopSign(AcceptStopSign {
            n: n(ballot),
            seq_num: sequence_number(sequence),
            ss: stop_sign_to_object(&stop_sign),
        }),
        Message::Probe { .. }
        | Message::ReadRequest { .. }
        | Message::ConfirmRequest { .. }
        | Message::Confirm { .. }
        | Message::ReadAnswer { .. }
        | Message::SeedRequest { .. }
        | Message::Seed { .. } => return None,
    };
    Some(ObjectMessage::SequencePaxos(PaxosMessage { from: from.pid(), to: own.pid(), msg }))
}

/// An election message for the object.
pub(super) fn sign_to_object(
    sign: Sign,
    from: ReplicaId,
    own: ReplicaId,
    configuration: &Configuration,
) -> ObjectMessage<Slot> {
    let msg = match sign {
        Sign::Request { round } => HeartbeatMsg::Request(HeartbeatRequest { round }),
        Sign::Reply { round, ballot, leader, is_happy } => HeartbeatMsg::Reply(HeartbeatReply {
            round,
            ballot: ballot.to_object(configuration),
            leader: leader.to_object(configuration),
            happy: is_happy,
        }),
    };
    ObjectMessage::BLE(BLEMessage { from: from.pid(), to: own.pid(), msg })
}
