//! The live view: how each replica stands by its own word, and how many writes its clients get acknowledged.

use super::load::Load;
use super::members::{MEMBERS, own_row};
use super::screen::Screen;
use crate::client::{Client, Timeouts};
use crate::numbers::thousands;
use crate::recovery::{self, Recovery};
use crate::replicas::ReplicaRow;
use crate::table::{Column, table};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Time between two looks, in a terminal and where every look is lines that stay.
const INTERVAL: Duration = Duration::from_millis(250);
const INTERVAL_OF_LINES: Duration = Duration::from_secs(2);
/// How soon the end of the load is noticed.
const STEP: Duration = Duration::from_millis(25);

/// A replica that is not of use yet must not hold up the view of the others.
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_millis(100), silence: Duration::from_millis(200) };

const COLUMNS: [Column; 7] = [
    Column::Right("replica"),
    Column::Left("role"),
    Column::Right("writes/s"),
    Column::Right("decided"),
    Column::Right("executed"),
    Column::Right("lag"),
    Column::Left("state"),
];

/// Shows how it goes until the load ends.
pub fn watch(load: &Load, screen: &Screen) {
    let interval = if screen.in_terminal() { INTERVAL } else { INTERVAL_OF_LINES };
    let mut clients: [Option<Client>; MEMBERS] = Default::default();
    let mut before = (Instant::now(), [0; MEMBERS]);
    while !load.is_over() {
        if before.0.elapsed() < interval {
            std::thread::sleep(STEP);
            continue;
        }
        let acknowledged: [u64; MEMBERS] = std::array::from_fn(|member| load.pace.acknowledged(member));
        let seconds = before.0.elapsed().as_secs_f64();
        let views = clients.iter_mut().enumerate().map(|(member, client)| {
            let writes = acknowledged[member].saturating_sub(before.1[member]);
            let row = look(load, member, client);
            let recovery = row.as_ref().filter(|row| !row.is_serving()).and_then(|_| recover(client));
            View {
                member,
                writes_per_second: (writes as f64 / seconds) as u64,
                is_alive: load.is_alive(member),
                row,
                recovery,
            }
        });
        let views: Vec<View> = views.collect();
        before = (Instant::now(), acknowledged);
        if screen.in_terminal() {
            let mut text = table(COLUMNS, views.iter().map(View::cells));
            views.iter().filter_map(View::comes_back).for_each(|line| text.push_str(&format!("{line}\n")));
            screen.paint(&text);
        } else {
            screen.say(&line(&views));
            views.iter().filter_map(View::comes_back).for_each(|line| screen.say(&line));
        }
    }
    screen.paint("");
}

/// What a replica says of itself, if it is there.
fn look(load: &Load, member: usize, client: &mut Option<Client>) -> Option<ReplicaRow> {
    if client.is_none() && load.is_alive(member) {
        *client = Client::connect(load.address(member), TIMEOUTS).ok();
    }
    let row = own_row(client.as_mut()?, member);
    if row.is_err() {
        *client = None;
    }
    row.ok()
}

/// What a replica says of its start, if that goes on.
fn recover(client: &mut Option<Client>) -> Option<Recovery> {
    let recovery = recovery::ask(client.as_mut()?);
    if recovery.is_err() {
        *client = None;
    }
    recovery.ok()?.filter(Recovery::goes_on)
}

/// How a replica is seen.
struct View {
    member: usize,
    writes_per_second: u64,
    is_alive: bool,
    /// None while it does not answer.
    row: Option<ReplicaRow>,
    /// How it comes back, while it does.
    recovery: Option<Recovery>,
}

impl View {
    /// A line about how it comes back.
    fn comes_back(&self) -> Option<String> {
        let recovery = self.recovery.as_ref()?;
        Some(format!("  replica {} is {}", self.member + 1, recovery.progress()))
    }

    fn cells(&self) -> [String; 7] {
        let number = |of: fn(&ReplicaRow) -> u64| self.row.as_ref().map_or("-".to_string(), |row| thousands(of(row)));
        [
            (self.member + 1).to_string(),
            self.row.as_ref().map_or("-".to_string(), |row| row.role.clone()),
            thousands(self.writes_per_second),
            number(|row| row.decided),
            number(|row| row.executed),
            number(|row| row.lag),
            match &self.row {
                Some(row) => row.state.clone(),
                None if self.is_alive => "starting".to_string(),
                None => "dead".to_string(),
            },
        ]
    }
}

/// All of them in one line, for where there is no terminal.
fn line(views: &[View]) -> String {
    let mut line = String::from("   ");
    for view in views {
        let [replica, role, writes, decided, executed, lag, state] = view.cells();
        let _ = match view.row {
            Some(_) => write!(
                line,
                " | {replica} {role} {writes}/s, {decided} decided, {executed} executed, lag {lag}, {state}"
            ),
            None => write!(line, " | {replica} {state}"),
        };
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{View, line};
    use crate::replicas::tests::replica;

    #[test]
    fn a_replica_that_is_dead_is_seen_as_that() {
        let alive = View {
            member: 0,
            writes_per_second: 12_345,
            is_alive: true,
            row: Some(replica(1, "leader", "serving", 6789)),
            recovery: None,
        };
        assert_eq!(alive.cells(), ["1", "leader", "12,345", "6,789", "6,789", "0", "serving"]);
        let dead = View { member: 1, writes_per_second: 0, is_alive: false, row: None, recovery: None };
        assert_eq!(dead.cells(), ["2", "-", "0", "-", "-", "-", "dead"]);
        let starting = View { is_alive: true, ..dead };
        assert_eq!(starting.cells().last().map(String::as_str), Some("starting"));
        let dead = View { is_alive: false, ..starting };
        let expected = "    | 1 leader 12,345/s, 6,789 decided, 6,789 executed, lag 0, serving | 2 dead";
        assert_eq!(line(&[alive, dead]), expected);
    }
}
