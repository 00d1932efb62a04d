//! What the server tells of its cluster: `INFO replication`, `SHOW REPLICAS`, and its settings.
//!
//! Where Redis has a name for something it has the same here: who leads is its `master`, others are its `slave`s. Fields
//! of Redis that describe how it copies (offsets, backlogs, ids of streams) have nothing here that they could tell.

use super::Fields;
use skink_replication::replica::ClusterOptions;
use skink_replication::status::{ClusterStatus, Condition, ReplicaStatus, Role};

/// Columns of `SHOW REPLICAS`; `skink status` reads them by these names.
const COLUMNS: [&str; 8] = ["replica", "role", "state", "decided", "executed", "durable", "checkpoint", "lag"];

/// Redis' word for what this replica is.
pub(crate) fn redis_role(status: &ClusterStatus) -> &'static str {
    match status.own().map(|own| own.role) {
        Some(Role::Leader | Role::Single) => "master",
        Some(Role::Candidate | Role::Follower | Role::Searching | Role::Silent) | None => "slave",
    }
}

/// Whether this replica serves, and executes or fetches what it has missed meanwhile.
pub(super) fn is_catching_up(status: &ClusterStatus) -> bool {
    status.own().is_some_and(|own| matches!(own.condition, Condition::CatchingUp | Condition::Installing))
}

/// The section Replication of `INFO`.
pub(super) fn info(status: &ClusterStatus) -> Fields {
    let role = redis_role(status);
    let is_connected =
        |replica: &ReplicaStatus| !matches!(replica.condition, Condition::Unreachable | Condition::Stopped);
    let members = status.replicas.iter().filter(|replica| replica.condition != Condition::Removed).count();
    let others = status.replicas.iter().filter(|replica| replica.replica != status.own);
    let connected = if role == "master" { others.filter(|replica| is_connected(replica)).count() } else { 0 };
    let mut fields = vec![("role", role.to_string()), ("connected_slaves", connected.to_string())];
    if role == "slave" {
        let leader = status.replicas.iter().find(|replica| Some(replica.replica) == status.leader);
        let link = if leader.is_some_and(is_connected) { "up" } else { "down" };
        fields.push(("master_link_status", link.to_string()));
    }
    // Numbers count from 1: 0 is nobody.
    let leader = status.leader.map_or(0, |leader| leader.get());
    fields.extend([
        ("replica_id", status.own.to_string()),
        ("leader_id", leader.to_string()),
        ("cluster_size", members.to_string()),
        ("cluster_configuration", status.configuration.to_string()),
    ]);
    if let Some(own) = status.own() {
        fields.extend([
            ("replica_role", own.role.to_string()),
            ("replica_state", own.condition.to_string()),
            ("replica_lag", status.lag(own).to_string()),
            ("decided_instance", own.decided.to_string()),
            ("executed_instance", own.executed.to_string()),
            ("durable_instance", own.durable.to_string()),
            ("checkpoint_instance", own.checkpoint.to_string()),
        ]);
    }
    fields
}

/// `SHOW REPLICAS`; the first row has the columns' names.
pub(super) fn rows(status: &ClusterStatus) -> Vec<Vec<String>> {
    let row = |replica: &ReplicaStatus| {
        vec![
            replica.replica.to_string(),
            replica.role.to_string(),
            replica.condition.to_string(),
            replica.decided.to_string(),
            replica.executed.to_string(),
            replica.durable.to_string(),
            replica.checkpoint.to_string(),
            status.lag(replica).to_string(),
        ]
    };
    std::iter::once(COLUMNS.map(String::from).to_vec()).chain(status.replicas.iter().map(row)).collect()
}

/// Settings of a cluster; that there is a secret, and not which.
pub(super) fn settings(cluster: &ClusterOptions) -> Fields {
    let members: Vec<String> = cluster.peers.iter().map(|(replica, address)| format!("{replica}={address}")).collect();
    let has_secret = if cluster.secret.is_some() { "yes" } else { "no" };
    vec![
        ("cluster.has_secret", has_secret.to_string()),
        ("cluster.members", members.join(",")),
        ("cluster.peer_listen", cluster.listen.to_string()),
        ("cluster.replica", cluster.own.to_string()),
        ("cluster.request_timeout_ms", cluster.request_timeout.as_millis().to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::{info, is_catching_up, redis_role, rows, settings};
    use skink_engine::position::Instance;
    use skink_replication::paxos::ReplicaId;
    use skink_replication::replica::ClusterOptions;
    use skink_replication::status::{ClusterStatus, Condition, ReplicaStatus, Role};
    use std::time::Duration;

    fn id(number: u8) -> ReplicaId {
        ReplicaId::new(number).unwrap()
    }

    fn replica(number: u8, role: Role, condition: Condition, executed: u64) -> ReplicaStatus {
        let instance = |number| Instance::new(number).unwrap();
        ReplicaStatus {
            replica: id(number),
            role,
            condition,
            decided: instance(executed + 2),
            executed: instance(executed),
            durable: instance(executed + 3),
            checkpoint: instance(executed / 2),
        }
    }

    fn cluster(own: u8) -> ClusterStatus {
        let replicas = vec![
            replica(1, Role::Leader, Condition::Serving, 100),
            replica(2, Role::Follower, Condition::CatchingUp, 40),
            replica(3, Role::Searching, Condition::Unreachable, 10),
        ];
        ClusterStatus { own: id(own), leader: Some(id(1)), configuration: 1, replicas }
    }

    fn field<'a>(fields: &'a super::Fields, name: &str) -> Option<&'a str> {
        fields.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn the_leader_is_redis_master_with_the_replicas_that_it_reaches() {
        let fields = info(&cluster(1));
        let expected = [
            ("role", "master"),
            ("connected_slaves", "1"),
            ("replica_id", "1"),
            ("leader_id", "1"),
            ("cluster_size", "3"),
            ("replica_role", "leader"),
            ("replica_state", "serving"),
            ("replica_lag", "2"),
            ("decided_instance", "102"),
            ("executed_instance", "100"),
            ("durable_instance", "103"),
            ("checkpoint_instance", "50"),
        ];
        for (name, value) in expected {
            assert_eq!(field(&fields, name), Some(value), "{name}");
        }
        assert_eq!(field(&fields, "master_link_status"), None);
    }

    #[test]
    fn others_are_redis_slaves_linked_or_not() {
        let fields = info(&cluster(2));
        assert_eq!(field(&fields, "role"), Some("slave"));
        assert_eq!(field(&fields, "connected_slaves"), Some("0"));
        assert_eq!(field(&fields, "master_link_status"), Some("up"));
        assert_eq!(field(&fields, "replica_state"), Some("catching up"));
        let lost = ClusterStatus { leader: None, ..cluster(2) };
        let fields = info(&lost);
        assert_eq!((field(&fields, "master_link_status"), field(&fields, "leader_id")), (Some("down"), Some("0")));
        let single = replica(1, Role::Single, Condition::Serving, 1);
        let single = ClusterStatus { own: id(1), leader: Some(id(1)), configuration: 0, replicas: vec![single] };
        assert_eq!(redis_role(&single), "master");
    }

    #[test]
    fn a_replica_that_fetches_what_it_missed_is_loading_in_the_background() {
        assert!(!is_catching_up(&cluster(1)));
        assert!(is_catching_up(&cluster(2)));
        let mut installing = cluster(2);
        installing.replicas[1].condition = Condition::Installing;
        assert!(is_catching_up(&installing));
    }

    #[test]
    fn a_row_for_each_replica_tells_how_far_it_is() {
        let rows = rows(&cluster(2));
        assert_eq!(rows[0], ["replica", "role", "state", "decided", "executed", "durable", "checkpoint", "lag"]);
        assert_eq!(rows[1], ["1", "leader", "serving", "102", "100", "103", "50", "2"]);
        assert_eq!(rows[2], ["2", "follower", "catching up", "42", "40", "43", "20", "62"]);
        assert_eq!(rows[3], ["3", "searching", "unreachable", "12", "10", "13", "5", "92"]);
    }

    #[test]
    fn settings_never_show_the_secret() {
        let options = ClusterOptions {
            own: id(2),
            listen: "127.0.0.1:7402".parse().unwrap(),
            peers: [(id(1), "a:7401".to_string()), (id(2), "b:7402".to_string())].into(),
            secret: Some(b"a secret of a cluster".to_vec()),
            request_timeout: Duration::from_millis(5000),
        };
        let fields = settings(&options);
        assert_eq!(field(&fields, "cluster.members"), Some("1=a:7401,2=b:7402"));
        assert_eq!(field(&fields, "cluster.has_secret"), Some("yes"));
        assert_eq!(field(&fields, "cluster.request_timeout_ms"), Some("5000"));
        assert!(fields.iter().all(|(_, value)| !value.contains("a secret")), "{fields:?}");
    }
}
